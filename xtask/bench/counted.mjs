// The Rust worker with its crossings counted: the entry module of the crossing table.
//
// bench → **GET /bench/crossings** → what `count.mjs` has counted since the last time.
//
// Invariant: every other request goes through the worker as built. Not here: counting itself. Failure: none.

import { takeCounts } from "./count.mjs";
import worker from "./index.js";

export { Caller, Inbox } from "./index.js";

export default {
  fetch(request, env, ctx) {
    if (request.url.endsWith("/bench/crossings")) return new Response(takeCounts());
    return worker.fetch(request, env, ctx);
  },
};
