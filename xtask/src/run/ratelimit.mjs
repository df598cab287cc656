// The Rate Limiting binding for a plain workerd, which has none: a fixed window per key, exact, in memory.
//
// The edge asks `env.RL_ADDRESS.limit({ key })` → this class → `{ success }`.
//
// Invariant: the class is named `Ratelimit`, as in production; the `worker` crate checks the constructor's name.
// Not here: spreading over machines; the real one counts per location and is only about right.
// Failure: none of its own; a missing key counts as one key.
class Ratelimit {
  #limit;
  #period_ms;
  #windows = new Map();

  constructor(limit, period_seconds) {
    this.#limit = limit;
    this.#period_ms = period_seconds * 1000;
  }

  async limit({ key }) {
    const now = Date.now();
    let window = this.#windows.get(key);
    if (!window || now - window.began >= this.#period_ms) {
      window = { began: now, count: 0 };
      this.#windows.set(key, window);
    }
    window.count += 1;
    return { success: window.count <= this.#limit };
  }
}

export default (env) => new Ratelimit(env.limit, env.period);
