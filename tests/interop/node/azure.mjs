// @azure/storage-blob: blobs by shared access signatures, in one piece and by blocks, lists and refusals.
import { randomBytes } from "node:crypto";
import {
  BlobSASPermissions,
  BlockBlobClient,
  ContainerClient,
  ContainerSASPermissions,
  generateBlobSASQueryParameters,
  StorageSharedKeyCredential,
} from "@azure/storage-blob";

const [account, key, names] = process.argv.slice(2).map(JSON.parse);
const { ENDPOINT, BUCKET } = process.env;
const credential = new StorageSharedKeyCredential(account, key);
const expiresOn = new Date(Date.now() + 600_000);
const options = { retryOptions: { maxTries: 1 } };
const pathOf = (name) => name.split("/").map(encodeURIComponent).join("/");
const blob = (name, permissions) => {
  const sas = generateBlobSASQueryParameters(
    { containerName: BUCKET, blobName: name, permissions: BlobSASPermissions.parse(permissions), expiresOn },
    credential,
  );
  return new BlockBlobClient(`${ENDPOINT}/${account}/${BUCKET}/${pathOf(name)}?${sas}`, undefined, options);
};
const caught = (promise) => promise.then(() => null, ({ code, statusCode }) => [code, statusCode]);

const told = { back: [] };
for (const name of names) {
  await blob(name, "w").upload(name, Buffer.byteLength(name), {
    metadata: { who: "me" },
    blobHTTPHeaders: { blobContentType: "text/x-cat" },
  });
  const downloaded = await blob(name, "r").downloadToBuffer();
  told.back.push(downloaded.toString());
}
const properties = await blob(names[0], "r").getProperties();
told.properties = [properties.contentType, properties.metadata.who, properties.contentLength];

const big = randomBytes(3 * 1024 * 1024 + 7);
await blob("big", "w").uploadData(big, { maxSingleShotSize: 1024 * 1024, blockSize: 1024 * 1024, concurrency: 3 });
told.big = big.equals(await blob("big", "r").downloadToBuffer(0, undefined, { blockSize: 1024 * 1024, concurrency: 3 }));

const listed = generateBlobSASQueryParameters(
  { containerName: BUCKET, permissions: ContainerSASPermissions.parse("l"), expiresOn },
  credential,
);
const container = new ContainerClient(`${ENDPOINT}/${account}/${BUCKET}?${listed}`, undefined, options);
told.listed = [];
for await (const item of container.listBlobsFlat()) told.listed.push(item.name);

told.refused = {
  missing: await caught(blob("missing", "r").getProperties().then(() => null)),
  permission: await caught(blob(names[0], "r").delete()),
  exists: await caught(blob(names[0], "w").upload("x", 1, { conditions: { ifNoneMatch: "*" } })),
  overwrite: await caught(blob(names[0], "c").upload("x", 1)),
};
await blob(names[0], "d").delete();
told.gone = await blob(names[0], "r").exists();
console.log(JSON.stringify(told));
