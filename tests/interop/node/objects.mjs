// An object's life with signed headers; names come as JSON on the command line.
import {
  CopyObjectCommand,
  CreateBucketCommand,
  DeleteObjectCommand,
  DeleteObjectsCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListObjectsV2Command,
  PutObjectCommand,
} from "@aws-sdk/client-s3";
import { Upload } from "@aws-sdk/lib-storage";
import { BUCKET as Bucket, client, errorOf, tell } from "./gateway.mjs";

const s3 = client();
const names = JSON.parse(process.argv[2]);
const read = async (command) => (await s3.send(command)).Body.transformToString();

await s3.send(new CreateBucketCommand({ Bucket }));
const back = [];
for (const Key of names) {
  await s3.send(new PutObjectCommand({ Bucket, Key, Body: Key, ContentType: "text/x-cat", Metadata: { who: "me" } }));
  back.push(await read(new GetObjectCommand({ Bucket, Key })));
}
const head = await s3.send(new HeadObjectCommand({ Bucket, Key: names[0] }));
const listed = await s3.send(new ListObjectsV2Command({ Bucket, MaxKeys: 1000 }));
const part = await read(new GetObjectCommand({ Bucket, Key: names[0], Range: "bytes=1-3" }));
await s3.send(new CopyObjectCommand({ Bucket, Key: "copied", CopySource: `${Bucket}/${encodeURIComponent(names[0])}` }));
const removed = await s3.send(
  new DeleteObjectsCommand({ Bucket, Delete: { Objects: names.map((Key) => ({ Key })) } }),
);

const Body = Buffer.alloc(11 * 2 ** 20, "0123456789");
const upload = new Upload({ client: s3, params: { Bucket, Key: "large", Body }, partSize: 5 * 2 ** 20 });
const uploaded = await upload.done();
const large = await s3.send(new GetObjectCommand({ Bucket, Key: "large" }));
const same = Buffer.from(await large.Body.transformToByteArray()).equals(Body);
await s3.send(new DeleteObjectCommand({ Bucket, Key: "large" }));

const wrong = client({
  credentials: {
    accessKeyId: process.env.AWS_ACCESS_KEY_ID,
    secretAccessKey: [...process.env.AWS_SECRET_ACCESS_KEY].reverse().join(""),
  },
});
tell({
  back,
  type: head.ContentType,
  metadata: head.Metadata,
  listed: listed.Contents.map((row) => row.Key),
  part,
  removed: removed.Deleted.length,
  left: (await s3.send(new ListObjectsV2Command({ Bucket }))).Contents.map((row) => row.Key),
  uploaded: uploaded.ETag,
  same,
  missing: await errorOf(s3.send(new GetObjectCommand({ Bucket, Key: "not there" }))),
  exists: await errorOf(s3.send(new PutObjectCommand({ Bucket, Key: "copied", Body: "x", IfNoneMatch: "*" }))),
  noBucket: await errorOf(s3.send(new ListObjectsV2Command({ Bucket: `${Bucket}-not` }))),
  refused: await errorOf(wrong.send(new GetObjectCommand({ Bucket, Key: "copied" }))),
});
