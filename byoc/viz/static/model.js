// The plan as objects. Everything in it is untrusted text: it reaches the page through textContent and fillText only.
const DATA = JSON.parse(document.getElementById("plan").textContent);
const OP_W = DATA.sizes.op[0], OP_H = DATA.sizes.op[1], PART_W = DATA.sizes.partition[0], PART_H = DATA.sizes.partition[1];

const HOST = DATA.targets.length;
const OWNERS = [...DATA.targets, { name: "host", version: "", ...DATA.host }];

function readFunction(raw) {
  const ops = raw.ops.map((o, index) => ({
    kind: "op", index, op: o[0], node: o[1], type: o[2] || o[0], owner: o[3] < 0 ? HOST : o[3], partition: o[4], flops: o[5],
    bytes: o[6], shape: o[7], dtype: o[8], producers: o[9], verdicts: o[10].map((v) => DATA.verdicts[v]), readers: [],
    label: o[1] || `%${index} ${o[0]}`, fn: null }));
  for (const op of ops) for (const p of op.producers) ops[p].readers.push(op.index);
  const partitions = raw.partitions.map((p, index) => ({
    kind: "partition", index, owner: p.target, symbol: p.symbol, ops: p.ops.map((i) => ops[i]), composites: p.composites,
    bytesIn: p.bytes_in, bytesOut: p.bytes_out, inner: p.inner, size: p.size, open: false, fn: null,
    flops: p.ops.reduce((sum, i) => sum + ops[i].flops, 0), label: p.symbol }));
  const items = raw.items.map(([p, o]) => (p >= 0 ? partitions[p] : ops[o]));
  const fn = { name: raw.name, ops, partitions, items, layouts: raw.layouts };
  for (const thing of [...ops, ...partitions]) thing.fn = fn;
  for (const p of partitions) {
    p.ops.forEach((op, k) => { op.innerAt = k; });
    const counts = new Map();
    for (const [pattern, members] of p.composites) {
      counts.set(pattern, (counts.get(pattern) || 0) + 1);
      for (const i of members) { ops[i].composite = pattern; ops[i].mates = members; }
    }
    p.counts = [...counts].sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1));
    const inside = new Set(p.ops);
    for (const op of p.ops) {
      op.fromOutside = op.producers.length === 0 || op.producers.some((i) => !inside.has(ops[i]));
      op.toOutside = op.readers.length === 0 || op.readers.some((i) => !inside.has(ops[i]));
    }
  }
  return fn;
}

const FUNCTIONS = DATA.functions.map(readFunction);
const PARTITIONS = FUNCTIONS.flatMap((f) => f.partitions);
const OPS = FUNCTIONS.flatMap((f) => f.ops);

function scaled(value, step, units) {
  let k = 0;
  while (value >= step && k < units.length - 1) { value /= step; k += 1; }
  return `${k === 0 || value >= 100 ? Math.round(value) : Number(value.toPrecision(3))} ${units[k]}`;
}
const flopsText = (n) => scaled(n, 1000, ["FLOP", "kFLOP", "MFLOP", "GFLOP", "TFLOP", "PFLOP"]);
const bytesText = (n) => scaled(n, 1024, ["B", "KiB", "MiB", "GiB", "TiB"]);
const plural = (n, word) => `${n} ${word}${n === 1 ? "" : "s"}`;

// The number an overlay has for a thing; an op inside a partition that was measured as a whole has none of its own.
function measured(thing, quantity) {
  const overlay = DATA.overlays[quantity];
  if (!overlay) return undefined;
  return thing.kind === "partition" ? overlay.partitions[thing.symbol] : (overlay.ops[thing.fn.name] || {})[thing.index];
}
function quantityText(value, quantity) {
  if (value === undefined) return "not measured";
  if (typeof value !== "number") return "not finite";
  if (quantity !== "seconds") return value.toPrecision(3);
  return value >= 1 ? `${value.toPrecision(3)} s` : value >= 1e-3 ? `${(value * 1e3).toPrecision(3)} ms` : `${(value * 1e6).toPrecision(3)} µs`;
}
