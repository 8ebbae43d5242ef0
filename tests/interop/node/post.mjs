// A form that the SDK signs, submitted with fetch as a page would.
import { createPresignedPost } from "@aws-sdk/s3-presigned-post";
import { BUCKET as Bucket, client, tell } from "./gateway.mjs";

const { url, fields } = await createPresignedPost(client(), {
  Bucket,
  Key: "in/${filename}",
  Conditions: [
    ["content-length-range", 1, 10],
    ["starts-with", "$Content-Type", "image/"],
  ],
  Fields: { success_action_status: "201" },
  Expires: 300,
});

async function submit(content, type) {
  const form = new FormData();
  for (const [name, value] of Object.entries({ ...fields, "Content-Type": type })) form.append(name, value);
  form.append("file", new Blob([content], { type }), "grüße.png");
  const answer = await fetch(url, { method: "POST", body: form });
  return [answer.status, await answer.text()];
}

tell({
  taken: await submit("0123456789", "image/png"),
  large: await submit("0123456789!", "image/png"),
  html: await submit("x", "text/html"),
});
