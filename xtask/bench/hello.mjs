// The JavaScript hello: the least that a worker can do, so the ceiling of what any worker reaches here.
//
// `cargo xtask bench edge` → **hello** → a ratio beside ours and the peer's.
//
// Invariant: it reads nothing and decides nothing. It answers what a provider is answered, so that the answers
// of all three workers have one size. Failure: none.

export default {
  fetch() {
    return new Response("1|OK", { headers: { "content-type": "text/plain" } });
  },
};
