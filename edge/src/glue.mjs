// The JavaScript side of `port.rs`: the only JavaScript that ships, and the only place where Rust meets the runtime.
//
// request → **glue** ⇄ Rust steps → answer. Each function here stands for several calls of the platform, so that
// one crossing of the border between wasm and JavaScript does the work of five to fifteen (PERFORMANCE.md counts
// them). It moves bytes and decides nothing: no route, no status, no SQL text, no key.
//
// Invariant: nothing that belongs to one request is kept here; only the inboxes' ids, which are values.
// Failure: what the platform throws reaches Rust as an error value (`catch` in port.rs), never as a foreign
// exception through wasm, which would reset the instance.

const TOO_LARGE = 413;
const LIMITED = 429;
const LIMITER_FAILED = 503;

// Awaits for a task of Rust (`task.rs`): one crossing an await. `resume` returns the next promise, or the result. A
// task whose instance has panicked or was started again fails here: to resume it would call into other memory.
export async function drive(resume, number, promise) {
  const life = globalThis.__worker_init_state; // of the crate `worker`, which is loaded after this module
  const instance = life.instanceId;
  let step = promise;
  while (step instanceof Promise) {
    let value;
    let fulfilled = true;
    try {
      value = await step;
    } catch (thrown) {
      value = thrown;
      fulfilled = false;
    }
    if (life.criticalError || life.instanceId !== instance) throw new Error("the wasm instance was started again");
    step = resume(number, fulfilled, value);
  }
  return step;
}

// What the gate must know of a request before it does any work, in one string. No line can hold a line feed:
// method and header values are checked by the HTTP parser, a URL is percent-encoded.
export function head(request) {
  const headers = request.headers;
  return `${Date.now()}\n${crypto.randomUUID()}\n${request.method}\n${headers.get("content-length") ?? ""}\n${
    headers.get("cf-connecting-ip") ?? ""}\n${request.url}`;
}

// The values of the named headers, one a line, absent ones empty.
export function headers(request, names) {
  return names.split("\n").map((name) => request.headers.get(name) ?? "").join("\n");
}

export function setting(env, name) {
  const value = env[name];
  return typeof value === "string" ? value : undefined;
}

export function bound(env, name) {
  return typeof env[name] === "object" && env[name] !== null;
}

// Asks the limiter, then reads the body: the order in which an abuser costs least. Rejects with a status.
// `open`: whether a failed or absent limiter lets the request pass.
export async function receive(request, env, key, open, max) {
  let passed = false;
  try {
    passed = (await env.RL_ADDRESS.limit({ key })).success;
  } catch {
    if (!open) throw LIMITER_FAILED;
    passed = true;
  }
  if (!passed) throw LIMITED;
  return request.headers.get("content-length") === null ? counted(request, max) : whole(request, max);
}

// A body as Rust's own bytes: returned as they are, the binding copies them in.
export function bytes(body) {
  return body;
}

// For tokens; the platform's own source.
export function random(count) {
  return crypto.getRandomValues(new Uint8Array(count));
}

async function whole(request, max) {
  const buffer = await request.arrayBuffer();
  if (buffer.byteLength > max) throw TOO_LARGE;
  return new Uint8Array(buffer);
}

// A body of undeclared length is counted while it comes in, so that it never fills the isolate's memory.
async function counted(request, max) {
  if (request.body === null) return new Uint8Array(0);
  const chunks = [];
  let length = 0;
  for await (const chunk of request.body) {
    length += chunk.byteLength;
    if (length > max) throw TOO_LARGE;
    chunks.push(chunk);
  }
  return new Uint8Array(await new Blob(chunks).arrayBuffer());
}

function table(lines) {
  const entries = {};
  for (const line of lines.split("\n")) {
    const colon = line.indexOf(": ");
    if (colon > 0) entries[line.slice(0, colon)] = line.slice(colon + 2);
  }
  return entries;
}

export function answer(status, lines, body) {
  return new Response(status === 204 ? null : body, { status, headers: table(lines) });
}

// Ids of inboxes only: as many as there are shards. An id belongs to one namespace, so nothing that a caller can name
// (a user's id may read `inbox-3`) is ever put here.
const inbox_ids = new Map();

function inbox_of(env, name) {
  let id = inbox_ids.get(name);
  if (id === undefined) {
    id = env.INBOX.idFromName(name);
    inbox_ids.set(name, id);
  }
  return env.INBOX.get(id);
}

// One call of the inbox. `parcel` is a view of wasm memory, so it is copied before anything is awaited.
export async function accept(env, name, parcel) {
  const init = { method: "POST", body: parcel.slice() };
  return (await inbox_of(env, name).fetch("https://inbox/", init)).status;
}

// The figures of every shard, asked in parallel; a shard that does not answer gives an empty text.
export async function figures(env, shards) {
  const asked = Array.from({ length: shards }, async (_, shard) => {
    try {
      return await (await inbox_of(env, `inbox-${shard}`).fetch("https://inbox/")).text();
    } catch {
      return "";
    }
  });
  return (await Promise.all(asked)).join("\n");
}

export async function ask_caller(env, name, request) {
  const init = { method: "POST", body: request };
  const caller = env.CALLER.get(env.CALLER.idFromName(name));
  return packed(await caller.fetch("https://caller/", init), "idempotency-replayed", "retry-after");
}

// A request to the origin with a budget of time: through the service binding where there is one.
export async function send(env, base, path, method, lines, body, budget_ms) {
  const service = env.ORIGIN;
  const init = { method, headers: table(lines), redirect: "manual", signal: AbortSignal.timeout(budget_ms) };
  if (body.length > 0) init.body = body.slice();
  const url = (service ? "https://origin.internal" : base) + path;
  return packed(await (service ? service.fetch(url, init) : globalThis.fetch(url, init)), "retry-after");
}

// A form to somebody else's server, with a budget of time.
export async function post_form(url, body, budget_ms) {
  const headers = { "content-type": "application/x-www-form-urlencoded" };
  const signal = AbortSignal.timeout(budget_ms);
  return packed(await globalThis.fetch(url, { method: "POST", headers, body, redirect: "manual", signal }));
}

async function packed(response, ...names) {
  const { status, headers } = response;
  const values = names.map((name) => headers.get(name) ?? "").join("|");
  return `${status}\n${headers.get("content-type") ?? ""}\n${values}\n${await response.text()}`;
}

// The inbox's own requests: a POST carries a parcel, anything else asks for the figures.
export async function inbox(request, accept, figures) {
  if (request.method !== "POST") return new Response(figures());
  return new Response(null, { status: accept(new Uint8Array(await request.arrayBuffer())) });
}

export async function sleep(ms) {
  await new Promise((wake) => setTimeout(wake, ms));
}

export async function body_text(request) {
  return request.text();
}

// Not awaited: the output gate holds every answer until the alarm is as durable as the row it is for, and a
// failed write resets the object.
export function arm(state, at_ms) {
  state.storage.setAlarm(at_ms).catch(() => {});
}

export function sql_of(state) {
  return state.storage.sql;
}

// The two writes that every notice pays for; `parcel` is a view of wasm memory, bound before `exec` returns.
export function write_event(sql, query, key, order, seq, parcel, next_at, now) {
  return sql.exec(query, key, order, seq, parcel, next_at, now).rowsWritten;
}

export function mark(sql, query, key, now) {
  return sql.exec(query, key, now).rowsWritten;
}

export function rows_written(sql, query, ...bindings) {
  return sql.exec(query, ...bindings).rowsWritten;
}

export function rows(sql, query, ...bindings) {
  return [...sql.exec(query, ...bindings).raw()];
}

export function log(line, failed) {
  if (failed) console.error(line);
  else console.log(line);
}

export function now_ms() {
  return Date.now();
}
