// Counts the calls between wasm and JavaScript, both ways, by name.
//
// counted.mjs imports this before index.js → **WebAssembly.Instance wrapped** → index.js gets counted functions.
//
// Invariant: every function import and export of the instance is wrapped, nothing else changes. Benchmark only: the
// wrapping itself costs time, so nothing is timed in a worker that is counted.
// Not here: calls between closures of index.js itself, which cross nothing. Failure: none.

const calls = new Map();

function counted(name, callee) {
  return function (...parameters) {
    calls.set(name, (calls.get(name) ?? 0) + 1);
    return callee.apply(this, parameters);
  };
}

function countedFunctions(functions, direction) {
  const result = {};
  for (const [name, value] of Object.entries(functions)) {
    result[name] = typeof value === "function" ? counted(`${direction} ${name}`, value) : value;
  }
  return result;
}

const Instance = WebAssembly.Instance;

WebAssembly.Instance = function (module, imports) {
  const wrapped = {};
  for (const [name, functions] of Object.entries(imports)) wrapped[name] = countedFunctions(functions, "wasm->js");
  const { exports } = new Instance(module, wrapped);
  return { exports: countedFunctions(exports, "js->wasm") };
};

/** The counts since the last call, as lines `count name`. */
export function takeCounts() {
  const lines = [...calls].map(([name, count]) => `${count} ${name}`);
  calls.clear();
  return lines.join("\n");
}
