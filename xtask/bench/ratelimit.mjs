// The rate limit binding of the benchmark: it always lets pass, so that no round is refused.
//
// worker → **RL_ADDRESS.limit** → success. workerd has no such binding of its own; the class carries the name by
// which the Rust crate knows it. Both measured workers ask it once a notice.
//
// Invariant: the same for both workers. Not here: limiting (the one of the tests does). Failure: none.

class Ratelimit {
  async limit() {
    return { success: true };
  }
}

export default () => new Ratelimit();
