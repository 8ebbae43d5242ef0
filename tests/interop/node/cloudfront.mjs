// @aws-sdk/cloudfront-signer: canned and custom policies, URLs and cookies.
import { readFileSync } from "node:fs";
import { getSignedCookies, getSignedUrl } from "@aws-sdk/cloudfront-signer";

const [keyPairId, keyFile, name] = process.argv.slice(2).map(JSON.parse);
const { ENDPOINT, BUCKET } = process.env;
const privateKey = readFileSync(keyFile, "utf8");
const url = `${ENDPOINT}/${BUCKET}/${name}`;
const dateLessThan = new Date(Date.now() + 600_000).toISOString();
const policy = (resource) =>
  JSON.stringify({
    Statement: [{ Resource: resource, Condition: { DateLessThan: { "AWS:EpochTime": Math.floor(Date.now() / 1000) + 600 } } }],
  });
const asHeader = (cookies) => Object.entries(cookies).map(([name, value]) => `${name}=${value}`).join("; ");
const got = (url, headers = {}) => fetch(url, { headers }).then(async (answer) => [answer.status, await answer.text()]);

const told = {
  canned: await got(getSignedUrl({ url, keyPairId, privateKey, dateLessThan })),
  custom: await got(getSignedUrl({ keyPairId, privateKey, policy: policy(`${ENDPOINT}/${BUCKET}/*`), url })),
  fromAnAddress: await got(getSignedUrl({ url, keyPairId, privateKey, dateLessThan, ipAddress: "127.0.0.0/8" })),
  fromAnother: await got(getSignedUrl({ url, keyPairId, privateKey, dateLessThan, ipAddress: "192.0.2.0/24" })),
  sha256: await got(getSignedUrl({ url, keyPairId, privateKey, dateLessThan, algorithm: "SHA256" })),
  cookies: await got(url, { Cookie: asHeader(getSignedCookies({ url, keyPairId, privateKey, dateLessThan })) }),
  wildcard: await got(url, {
    Cookie: asHeader(getSignedCookies({ keyPairId, privateKey, policy: policy(`${ENDPOINT}/${BUCKET}/*`) })),
  }),
  elsewhere: await got(`${ENDPOINT}/other/${name}`, {
    Cookie: asHeader(getSignedCookies({ keyPairId, privateKey, policy: policy(`${ENDPOINT}/${BUCKET}/*`) })),
  }),
};
console.log(JSON.stringify(told));
