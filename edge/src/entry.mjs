// The module that the runtime loads: worker-build's output behind a plain object in place of its proxies.
//
// runtime → **entry** → `lib::fetch` in wasm. The build puts it at `index.js`, with worker-build's module beside it as
// `worker.js` (xtask/src/build_edge.rs).
//
// worker-build makes an object of a class and two proxies for every request, to start the wasm instance again after a
// panic. Here a request costs one look at the flag that the panic hook sets; only if it is set does the built class
// do what it does. Measured: 4 of 77 µs of a verified notice.
// Invariant: a request after a panic meets a fresh instance, as before; a trap without a panic is handled by the
// bindings themselves (their call guard). Durable Objects keep the built classes: their memory must be made anew.
// Failure: none of its own.

import Built from "./worker.js";

export { Caller, Inbox } from "./worker.js";

const life = globalThis.__worker_init_state;
const { fetch } = Built.prototype;

export default {
  fetch(request, env, ctx) {
    if (life.criticalError) new Built(ctx, env);
    return fetch.call({ env, ctx }, request);
  },
};
