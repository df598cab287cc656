// The JavaScript peer: what a user would otherwise write to receive ECPay's payment notice, written well.
//
// provider → **receive → verify → read → Inbox → forward**, in plain JavaScript: WebCrypto for SHA-256 and HMAC,
// RPC to a SQLite Durable Object, settings and keys read once per isolate. `cargo xtask bench edge` measures it
// beside the Rust worker, in one run, with the same bindings, shards, disk and connections.
//
// Invariant: the same notice gets the same answer from both (bench/peer_check.rs tries good, repeated, forged and
// broken ones before anything is measured); a notice is acknowledged only when it is durable, and forwarded once.
// Not here: the other providers, the browser's routes, rotation of keys, health. A user's own worker for one
// provider would not have them, so the peer is not made to carry them.
// Failure: a refusal is problem+json; an origin that does not answer leaves the row pending for the alarm.

import { DurableObject } from "cloudflare:workers";
import { verifyNotice, Refusal } from "./peer_verify.mjs";

const BODY_BYTES_MAX = 64 * 1024;
const ORIGIN_BUDGET_MS = 2_000;
const RETRY_FIRST_MS = 1_000;
const RETRY_LAST_MS = 300_000;
const DRAIN_ROWS = 50;
const ORIGIN_PATH = "/internal/v1/events";

// States of a row: 0 pending, 1 delivered (body dropped), 2 parked. Each statement checks that it is still pending.
const SCHEMA = `CREATE TABLE IF NOT EXISTS inbox (
  key TEXT PRIMARY KEY, state INTEGER NOT NULL, delivery TEXT NOT NULL, received_at_ms INTEGER NOT NULL,
  attempts INTEGER NOT NULL DEFAULT 0, body BLOB, reason TEXT) WITHOUT ROWID`;
const INSERT = `INSERT INTO inbox (key, state, delivery, received_at_ms, body) VALUES (?, 0, ?, ?, ?)
  ON CONFLICT DO NOTHING`;
const REVIVE = "UPDATE inbox SET state = 0 WHERE key = ? AND state = 2";
const DELIVERED = "UPDATE inbox SET state = 1, body = NULL WHERE key = ? AND state = 0";
const PARKED = "UPDATE inbox SET state = 2, reason = ? WHERE key = ? AND state = 0";
const KEPT = "UPDATE inbox SET attempts = attempts + 1 WHERE key = ? AND state = 0";
const OLDEST = "SELECT * FROM inbox WHERE state = 0 ORDER BY received_at_ms LIMIT ?";
const PENDING = "SELECT count(*) AS pending FROM inbox WHERE state = 0";

/** Statuses with which the origin refuses for good; everything else is tried again. */
const PARKING_STATUSES = new Set([400, 409, 413, 415, 422]);

const encoder = new TextEncoder();

// The settings do not change while an isolate lives, so they are read on its first request only.
let settings;

function readSettings(env) {
  return {
    hashKey: env.ECPAY_HASH_KEY,
    hashIv: env.ECPAY_HASH_IV,
    shards: Number(env.INBOX_SHARDS),
  };
}

export default {
  async fetch(request, env) {
    settings ??= readSettings(env);
    const path = new URL(request.url).pathname;
    try {
      switch (path) {
        case "/api/webhooks/ecpay/payment":
          return await receive(request, env);
        case "/bench/verify":
          return await verifyOnly(request, env);
        default:
          return problem(404, "not-found", "No such route");
      }
    } catch (error) {
      if (error instanceof Refusal) return problem(error.status, error.type, error.message);
      console.error(error);
      return problem(500, "internal", "Something went wrong");
    }
  },
};

/** Limit, verify, keep; the answer waits for the row to be durable, not for the origin. */
async function receive(request, env) {
  const receivedAtMs = Date.now();
  const delivery = crypto.randomUUID();
  const body = await limitedBody(request, env);
  const notice = await verifyNotice(body, settings);
  const shard = shardOf(notice.order, settings.shards);
  const inbox = env.INBOX.getByName(`inbox-${shard}`);
  const outcome = await inbox.accept(notice.key, delivery, receivedAtMs, body);
  logRequest("webhook", delivery, outcome, receivedAtMs);
  return acknowledge();
}

/** The same without keeping anything: only the benchmark asks for it. */
async function verifyOnly(request, env) {
  const receivedAtMs = Date.now();
  const delivery = crypto.randomUUID();
  await verifyNotice(await limitedBody(request, env), settings);
  logRequest("verify", delivery, "verified", receivedAtMs);
  return acknowledge();
}

async function limitedBody(request, env) {
  if (request.method !== "POST") throw new Refusal(405, "method-not-allowed", "Only POST is allowed here");
  const address = request.headers.get("cf-connecting-ip") ?? "unknown";
  const limited = await env.RL_ADDRESS.limit({ key: `webhook|${address}` });
  if (!limited.success) throw new Refusal(429, "too-many-requests", "Too many requests");
  return await readBody(request);
}

async function readBody(request) {
  if (Number(request.headers.get("content-length")) > BODY_BYTES_MAX) throw tooLarge();
  const body = new Uint8Array(await request.arrayBuffer());
  if (body.byteLength > BODY_BYTES_MAX) throw tooLarge();
  return body;
}

function tooLarge() {
  return new Refusal(413, "body-too-large", "The body is too large");
}

function acknowledge() {
  return new Response("1|OK", { headers: { "content-type": "text/plain" } });
}

function problem(status, type, title) {
  return Response.json(
    { type: `urn:tollgate:problem:${type}`, title, status },
    { status, headers: { "content-type": "application/problem+json" } },
  );
}

function logRequest(route, delivery, outcome, startedAtMs) {
  const durationMs = Date.now() - startedAtMs;
  console.log(JSON.stringify({ event: "request", delivery, route, status: 200, outcome, durationMs }));
}

function logDelivery(delivery, status, outcome) {
  console.log(JSON.stringify({ event: "delivery", delivery, status, outcome }));
}

/** FNV-1a of the order number, so that the events of one order meet in one shard. */
function shardOf(order, shards) {
  let hash = 0x811c9dc5;
  for (let index = 0; index < order.length; index += 1) {
    hash = Math.imul(hash ^ order.charCodeAt(index), 0x01000193);
  }
  return (hash >>> 0) % shards;
}

/** One shard: the keys it has seen, and the notices that the origin does not have yet. */
export class Inbox extends DurableObject {
  #sql;
  #alarmArmed = false;

  constructor(ctx, env) {
    super(ctx, env);
    this.#sql = ctx.storage.sql;
    this.#sql.exec(SCHEMA);
  }

  /** Keeps a notice, or finds it; a new one is offered to the origin at once, in the background. */
  accept(key, delivery, receivedAtMs, body) {
    const inserted = this.#sql.exec(INSERT, key, delivery, receivedAtMs, body).rowsWritten > 0;
    if (!inserted && this.#sql.exec(REVIVE, key).rowsWritten === 0) return "repeated";
    this.#armAlarm(RETRY_FIRST_MS + ORIGIN_BUDGET_MS);
    this.#deliver({ key, delivery, received_at_ms: receivedAtMs, body });
    return "accepted";
  }

  async alarm() {
    this.#alarmArmed = false;
    const rows = this.#sql.exec(OLDEST, DRAIN_ROWS);
    let attempts = 0;
    for (const row of rows.toArray()) {
      attempts = Math.max(attempts, row.attempts);
      await this.#deliver({ ...row, body: new Uint8Array(row.body) });
    }
    const left = this.#sql.exec(PENDING).toArray();
    if (left[0].pending > 0) this.#armAlarm(Math.min(RETRY_FIRST_MS * 2 ** attempts, RETRY_LAST_MS));
  }

  // Not awaited: the output gate holds every answer until the alarm is stored as well. Set once for many notices.
  #armAlarm(delayMs) {
    if (this.#alarmArmed) return;
    this.#alarmArmed = true;
    this.ctx.storage.setAlarm(Date.now() + delayMs);
  }

  async #deliver(row) {
    const status = await forward(this.env, row);
    logDelivery(row.delivery, status, status === 200 ? "delivered" : "refused");
    if (status === 200) this.#sql.exec(DELIVERED, row.key);
    else if (PARKING_STATUSES.has(status)) this.#sql.exec(PARKED, `origin answered ${status}`, row.key);
    else this.#sql.exec(KEPT, row.key);
  }
}

let handoffKey;

function importHandoffKey(env) {
  const bytes = encoder.encode(env.HANDOFF_KEY);
  return crypto.subtle.importKey("raw", bytes, { name: "HMAC", hash: "SHA-256" }, false, ["sign"]);
}

/** Offers a row to the origin. Status 0: no answer within the budget. */
async function forward(env, row) {
  const body = encoder.encode(envelope(row));
  const timestamp = String(Math.floor(Date.now() / 1000));
  const headers = {
    "content-type": "application/json",
    "tollgate-key-id": env.HANDOFF_KEY_ID,
    "tollgate-timestamp": timestamp,
    "tollgate-delivery": row.delivery,
    "tollgate-subject": "",
    "tollgate-signature": await sign(env, timestamp, row.delivery, body),
  };
  try {
    const signal = AbortSignal.timeout(ORIGIN_BUDGET_MS);
    const answer = await env.ORIGIN.fetch(`http://origin${ORIGIN_PATH}`, { method: "POST", headers, body, signal });
    await answer.arrayBuffer(); // a body left unread would cost the connection
    return answer.status;
  } catch {
    return 0;
  }
}

function envelope(row) {
  return JSON.stringify({
    version: 1,
    source: "ecpay",
    notice: "payment",
    key: row.key,
    received_at_ms: row.received_at_ms,
    headers: [],
    raw_base64: row.body.toBase64(),
  });
}

async function sign(env, timestamp, delivery, body) {
  handoffKey ??= await importHandoffKey(env);
  const bodyHash = new Uint8Array(await crypto.subtle.digest("SHA-256", body)).toHex();
  const text = ["tollgate-handoff-v1", "POST", ORIGIN_PATH, timestamp, delivery, "", bodyHash].join("\n");
  const mac = await crypto.subtle.sign("HMAC", handoffKey, encoder.encode(text));
  return new Uint8Array(mac).toHex();
}
