// The Rust worker with its crossings counted: the entry module of the crossing table.
//
// bench → **GET /bench/crossings** → what `count.mjs` has counted since the last time.
//
// Invariant: every other request goes through the worker as built. Not here: counting itself. Failure: none.

import { takeCounts } from "./count.mjs";
import Worker from "./index.js";

export * from "./index.js";

export default class extends Worker {
  async fetch(request) {
    if (request.url.endsWith("/bench/crossings")) return new Response(takeCounts());
    return super.fetch(request);
  }
}
