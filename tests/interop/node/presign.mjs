// URLs that the SDK presigns, in the shapes that applications use; names come as JSON on the command line.
import { GetObjectCommand, HeadObjectCommand, PutObjectCommand } from "@aws-sdk/client-s3";
import { getSignedUrl } from "@aws-sdk/s3-request-presigner";
import { BUCKET as Bucket, client, tell } from "./gateway.mjs";

const asShipped = client();
const s3 = client({ requestChecksumCalculation: "WHEN_REQUIRED" });
const names = JSON.parse(process.argv[2]);
const sign = (command, more) => getSignedUrl(s3, command, { expiresIn: 300, ...more });

// Conditions of the gateway's own, put into one URL before it is signed.
const limited = new PutObjectCommand({ Bucket, Key: "limited" });
limited.middlewareStack.add(
  (next) => (args) => {
    Object.assign(args.request.query, { "x-valet-uses": "1", "x-valet-length": "1-5" });
    return next(args);
  },
  { step: "build" },
);

tell({
  put: await Promise.all(names.map((Key) => sign(new PutObjectCommand({ Bucket, Key })))),
  get: await Promise.all(names.map((Key) => sign(new GetObjectCommand({ Bucket, Key })))),
  head: await sign(new HeadObjectCommand({ Bucket, Key: names[0] })),
  typed: await sign(new PutObjectCommand({ Bucket, Key: "typed", ContentType: "image/png", Metadata: { who: "me" } }), {
    signableHeaders: new Set(["content-type"]),
  }),
  unhoisted: await sign(new PutObjectCommand({ Bucket, Key: "unhoisted", Metadata: { who: "me" } }), {
    unhoistableHeaders: new Set(["x-amz-meta-who"]),
  }),
  download: await sign(
    new GetObjectCommand({ Bucket, Key: names[0], ResponseContentDisposition: 'attachment; filename="cat.txt"' }),
  ),
  trap: await getSignedUrl(asShipped, new PutObjectCommand({ Bucket, Key: "trap" }), { expiresIn: 300 }),
  limited: await sign(limited),
});
