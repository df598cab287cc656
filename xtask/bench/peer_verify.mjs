// The peer's reading of an ECPay notice: the form, its CheckMacValue, its meaning.
//
// receive → **verify → read** → Inbox. The rules are those of `shared/src/provider/ecpay` (reference §1.1).
//
// Invariant: no field is believed before the MAC was compared in constant time; a body that can be read in two
// ways (a key twice, a value with `&`) is refused. Not here: HTTP, storage.
// Failure: `Refusal` with the status and problem type that the Rust worker answers.

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true });

const FIELDS_MAX = 128;
const FIELD_NAME = /^[0-9A-Za-z_]+$/;
const MAC_FIELD = "checkmacvalue";

/** Why a notice is refused. */
export class Refusal extends Error {
  constructor(status, type, title) {
    super(title);
    this.status = status;
    this.type = type;
  }
}

/** Form, then MAC, then meaning. */
export async function verifyNotice(body, settings) {
  const fields = parseForm(body);
  await checkMac(fields, settings);
  return readPayment(fields);
}

/** Fields by lower-case name: the MAC does not see the case of a name, so two that differ in it are one field. */
function parseForm(body) {
  const fields = new Map();
  for (const pair of decodeUtf8(body).split("&")) {
    if (pair === "") continue;
    if (fields.size === FIELDS_MAX) throw malformed();
    const equals = pair.indexOf("=");
    const name = decodeText(equals < 0 ? pair : pair.slice(0, equals));
    const value = equals < 0 ? "" : decodeText(pair.slice(equals + 1));
    const key = name.toLowerCase();
    if (!FIELD_NAME.test(name) || value.includes("&") || fields.has(key)) throw malformed();
    fields.set(key, { name, value });
  }
  if (fields.size === 0) throw malformed();
  return fields;
}

function decodeUtf8(body) {
  try {
    return decoder.decode(body);
  } catch {
    throw malformed();
  }
}

function decodeText(text) {
  try {
    return decodeURIComponent(text.replaceAll("+", " "));
  } catch {
    throw malformed();
  }
}

function malformed() {
  return new Refusal(400, "malformed-body", "The body cannot be read");
}

async function checkMac(fields, settings) {
  const received = fields.get(MAC_FIELD)?.value;
  if (received === undefined) throw unusable("CheckMacValue");
  const digest = await crypto.subtle.digest("SHA-256", encoder.encode(macText(fields, settings)));
  const given = fromHex(received);
  if (given === null || !crypto.subtle.timingSafeEqual(given, new Uint8Array(digest))) {
    throw new Refusal(403, "signature-mismatch", "The signature does not match");
  }
}

/** The text that ECPay hashes: sorted without regard to case, joined, encoded as .NET does, in lower case. */
function macText(fields, settings) {
  const names = [...fields.keys()].sort();
  let joined = `HashKey=${settings.hashKey}`;
  for (const key of names) {
    if (key === MAC_FIELD) continue;
    const { name, value } = fields.get(key);
    joined += `&${name}=${value}`;
  }
  return dotNetEncode(`${joined}&HashIV=${settings.hashIv}`);
}

const DOT_NET = { "%20": "+", "~": "%7e", "'": "%27" };

function dotNetEncode(text) {
  return encodeURIComponent(text).replace(/%20|~|'/g, (match) => DOT_NET[match]).toLowerCase();
}

function fromHex(text) {
  return /^[0-9A-Fa-f]{64}$/.test(text) ? Uint8Array.fromHex(text) : null;
}

// Another merchant's notice is kept and forwarded as well: whether it fits an order is the origin's to say.
function readPayment(fields) {
  const merchant = field(fields, "MerchantID", /^[0-9A-Za-z]{1,20}$/);
  const order = field(fields, "MerchantTradeNo", /^[0-9A-Za-z_-]{1,30}$/);
  const code = field(fields, "RtnCode", /^[0-9]{1,10}$/);
  const simulated = field(fields, "SimulatePaid", /^[01]?$/, "0") === "1";
  const trade = field(fields, "TradeNo", /^[0-9A-Za-z_-]{1,64}$/);
  const amountMinor = Number(field(fields, "TradeAmt", /^[0-9]{1,12}$/));
  const result = code === "1" ? "paid" : `failed:${code}`;
  const key = `ecpay:${merchant}:payment:${order}:${trade}:${result}${simulated ? ":test" : ""}`;
  return { key, order, amountMinor, simulated };
}

function field(fields, name, shape, absent) {
  const value = fields.get(name.toLowerCase())?.value ?? absent;
  if (value === undefined || !shape.test(value)) throw unusable(name);
  return value;
}

function unusable(name) {
  return new Refusal(400, "missing-field", `Field ${name} is missing or unusable`);
}
