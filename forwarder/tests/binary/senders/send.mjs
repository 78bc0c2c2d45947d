// Signs webhooks as providers do, with their own libraries, and sends them.
//
// Reads a job per line, and prints what it has sent and the status of the answer, per line as well.
import { createInterface } from "node:readline";
import { sign as signAsGitHub } from "@octokit/webhooks-methods";
import "@shopify/shopify-api/adapters/node";
import { createSHA256HMAC as signAsShopify } from "@shopify/shopify-api/runtime";
import { CloudEvent, HTTP } from "cloudevents";
import { importPKCS8, SignJWT } from "jose";
import * as standardwebhooks from "standardwebhooks";
import Stripe from "stripe";
import * as svix from "svix";
import twilio from "twilio";

const PATIENCE_MS = 20_000;
const now = new Date();

const cloudEvent = ({ id, type, subject, data }) =>
  new CloudEvent({ id, type, subject, source: "https://api-v2.fattureincloud.it", time: now.toISOString(), data });

async function fattureInCloud(job, message) {
  const token = await new SignJWT({ aid: 1 })
    .setProtectedHeader({ typ: "JWT", alg: "ES256" })
    .setJti(job.id)
    .setIssuer("https://api-v2.fattureincloud.it")
    .setSubject(job.subject)
    .setAudience([job.publicUrl])
    .setIssuedAt()
    .setExpirationTime("3h")
    .sign(await importPKCS8(job.secret, "ES256"));
  return { ...message, headers: { ...message.headers, authorization: `Bearer ${token}` } };
}

// What each library makes of a job: headers and body of a request, and what stands behind the source's address.
const libraries = {
  standardwebhooks({ secret, id, body }) {
    const signature = new standardwebhooks.Webhook(secret).sign(id, now, body);
    const timestamp = Math.floor(now.getTime() / 1000).toString();
    return { headers: { "webhook-id": id, "webhook-timestamp": timestamp, "webhook-signature": signature }, body };
  },

  svix({ secret, id, body }) {
    const signature = new svix.Webhook(secret).sign(id, now, body);
    const timestamp = Math.floor(now.getTime() / 1000).toString();
    return { headers: { "svix-id": id, "svix-timestamp": timestamp, "svix-signature": signature }, body };
  },

  stripe({ secret, body }) {
    const signature = Stripe.webhooks.generateTestHeaderString({ payload: body, secret });
    return { headers: { "Stripe-Signature": signature }, body };
  },

  async github({ secret, id, type, body }) {
    const signature = await signAsGitHub(secret, body);
    return { headers: { "X-GitHub-Delivery": id, "X-GitHub-Event": type, "X-Hub-Signature-256": signature }, body };
  },

  async shopify({ secret, id, type, tenant, body }) {
    const headers = {
      "X-Shopify-Hmac-SHA256": await signAsShopify(secret, body),
      "X-Shopify-Shop-Domain": tenant,
      "X-Shopify-Topic": type,
      "X-Shopify-Webhook-Id": id,
    };
    return { headers, body };
  },

  "twilio form"({ secret, id, type, publicUrl, fields }) {
    const behind = `/${type}?a=%2B1`;
    const signature = twilio.getExpectedTwilioSignature(secret, publicUrl + behind, fields);
    const headers = {
      "Content-Type": "application/x-www-form-urlencoded; charset=UTF-8",
      "I-Twilio-Idempotency-Token": id,
      "X-Twilio-Signature": signature,
    };
    return { behind, headers, body: new URLSearchParams(fields).toString() };
  },

  "twilio json"({ secret, id, type, publicUrl, body }) {
    const behind = `/${type}?bodySHA256=${twilio.getExpectedBodyHash(body)}`;
    const signature = twilio.getExpectedTwilioSignature(secret, publicUrl + behind, {});
    return { behind, headers: { "I-Twilio-Idempotency-Token": id, "X-Twilio-Signature": signature }, body };
  },

  "cloudevents binary"(job) {
    const message = HTTP.binary(cloudEvent(job));
    return { ...message, headers: { ...message.headers, authorization: `Bearer ${job.secret}` } };
  },

  "cloudevents structured"(job) {
    const message = HTTP.structured(cloudEvent(job));
    return { ...message, headers: { ...message.headers, authorization: `Bearer ${job.secret}` } };
  },

  "fatture-in-cloud binary": (job) => fattureInCloud(job, HTTP.binary(cloudEvent(job))),

  "fatture-in-cloud structured": (job) => fattureInCloud(job, HTTP.structured(cloudEvent(job))),
};

for await (const line of createInterface({ input: process.stdin })) {
  const job = JSON.parse(line);
  const { behind = "", headers, body } = await libraries[job.library](job);
  const bytes = Buffer.from(body);
  const request = { method: "POST", headers, body: bytes, signal: AbortSignal.timeout(PATIENCE_MS) };
  const answer = await fetch(job.url + behind, request);
  await answer.text();
  const sent = { behind, headers: Object.entries(headers), body: bytes.toString("base64") };
  console.log(JSON.stringify({ status: answer.status, ...sent }));
}
