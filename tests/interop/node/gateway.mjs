// The client of these scripts, and what they were told: ENDPOINT, BUCKET and AWS's variables in the environment.
import { S3Client } from "@aws-sdk/client-s3";

export const { BUCKET, ENDPOINT } = process.env;

export function client(more = {}) {
  return new S3Client({ endpoint: ENDPOINT, forcePathStyle: true, maxAttempts: 1, ...more });
}

// What the tests read: one line of JSON.
export function tell(result) {
  console.log(JSON.stringify(result));
}

export async function errorOf(promise) {
  try {
    await promise;
    return null;
  } catch (error) {
    return [error.name, error.$metadata?.httpStatusCode];
  }
}
