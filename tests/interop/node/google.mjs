// @google-cloud/storage: signed URLs of both versions, a policy, resumable uploads; then transfers with plain fetch.
import { readFileSync } from "node:fs";
import { Storage } from "@google-cloud/storage";

const [keyFile, names] = process.argv.slice(2).map(JSON.parse);
const { ENDPOINT, BUCKET } = process.env;
const storage = new Storage({ keyFilename: keyFile, apiEndpoint: ENDPOINT });
const bucket = storage.bucket(BUCKET);
const expires = () => Date.now() + 600_000;
const host = new URL(ENDPOINT);
const signed = (name, action, version, more = {}) =>
  bucket.file(name).getSignedUrl({ action, version, expires: expires(), host, ...more }).then(([url]) => url);

const told = { back: {} };
for (const version of ["v2", "v4"]) {
  told.back[version] = [];
  for (const name of names) {
    const put = await fetch(await signed(name, "write", version), {
      method: "PUT",
      body: Buffer.from(`${version} ${name}`), // of a string fetch would send a type, which version 2 signs
    });
    if (!put.ok) throw new Error(`${version} ${name}: ${put.status} ${await put.text()}`);
    const get = await fetch(await signed(name, "read", version));
    told.back[version].push(await get.text());
  }
}

const typed = await signed("typed", "write", "v4", { contentType: "image/png", extensionHeaders: { "x-goog-meta-who": "me" } });
const send = (headers) => fetch(typed, { method: "PUT", body: "x", headers }).then(({ status }) => status);
told.typed = [
  await send({ "Content-Type": "text/html", "x-goog-meta-who": "me" }),
  await send({ "Content-Type": "image/png", "x-goog-meta-who": "me" }),
];
const typedBack = await fetch(await signed("typed", "read", "v4", { promptSaveAs: "cat.png" }));
told.typedBack = ["content-type", "x-goog-meta-who", "content-disposition"].map((name) => typedBack.headers.get(name));

told.resumed = {};
for (const version of ["v2", "v4"]) {
  const start = await fetch(await signed(`resumed-${version}`, "resumable", version), {
    method: "POST",
    headers: { "x-goog-resumable": "start" },
  });
  const session = start.headers.get("location");
  const chunk = "c".repeat(256 * 1024);
  const first = await fetch(session, {
    method: "PUT",
    headers: { "Content-Range": `bytes 0-${chunk.length - 1}/*` },
    body: Buffer.from(chunk),
    redirect: "manual",
  });
  const last = await fetch(session, {
    method: "PUT",
    headers: { "Content-Range": `bytes ${chunk.length}-${chunk.length + 2}/${chunk.length + 3}` },
    body: Buffer.from("end"),
  });
  const whole = await fetch(await signed(`resumed-${version}`, "read", version));
  told.resumed[version] = [start.status, first.status, first.headers.get("range"), last.status, (await whole.text()).length];
}

told.streamed = [];
for (const chunkSize of [undefined, 256 * 1024]) {
  // Without a chunk size the SDK announces `bytes 0-*/*`, and sends all in one request.
  const start = await fetch(await signed("streamed", "resumable", "v4"), {
    method: "POST",
    headers: { "x-goog-resumable": "start" },
  });
  const body = Buffer.alloc(600_000, `of ${chunkSize}`);
  const stream = bucket.file("streamed").createWriteStream({ uri: start.headers.get("location"), chunkSize, validation: false });
  await new Promise((done, failed) => stream.on("error", failed).on("finish", done).end(body));
  const whole = await fetch(await signed("streamed", "read", "v4"));
  told.streamed.push(Buffer.from(await whole.arrayBuffer()).equals(body));
}

const [policy] = await bucket.file("in/form.txt").generateSignedPostPolicyV4({
  expires: expires(),
  conditions: [["content-length-range", 1, 10]],
  fields: { "x-goog-meta-who": "me" },
});
const post = async (text) => {
  const form = new FormData();
  for (const [name, value] of Object.entries(policy.fields)) form.append(name, value);
  form.append("file", new Blob([text]), "form.txt");
  // The SDK takes an endpoint of one's own for that of the bucket itself, and leaves the bucket out of policy.url.
  const answer = await fetch(`${ENDPOINT}/${BUCKET}`, { method: "POST", body: form });
  return [answer.status, await answer.text()];
};
told.form = { taken: await post("0123456789"), large: await post("0123456789+") };

const removed = await fetch(await signed(names[0], "delete", "v4"), { method: "DELETE" });
const gone = await fetch(await signed(names[0], "read", "v4"));
told.gone = [removed.status, gone.status, (await gone.text()).includes("NoSuchKey")];
console.log(JSON.stringify(told));
