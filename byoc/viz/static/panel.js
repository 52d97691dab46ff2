// The texts beside the picture: the hover card, details of what is selected, the search, the legend.
const byId = (id) => document.getElementById(id);
function element(tag, text, attributes = {}) {
  const made = document.createElement(tag);
  if (text !== undefined) made.textContent = text;
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}
function facts(rows) {
  const list = element("dl");
  for (const [name, value] of rows) list.append(element("dt", name), element("dd", value));
  return list;
}
const titleOf = (t) => (t.kind === "partition" ? `${OWNERS[t.owner].name} ${t.index}, ${t.symbol}` : `${t.type} ${t.label}`);

function factsOf(thing) {
  const rows = thing.kind === "partition" ? partitionFacts(thing) : opFacts(thing);
  for (const name of Object.keys(DATA.overlays)) rows.push([name === "seconds" ? "time" : name, quantityText(measured(thing, name), name)]);
  return rows;
}
function opFacts(op) {
  const owner = op.partition < 0 ? "host" : `${OWNERS[op.owner].name}, partition ${op.partition}`;
  const rows = [["op", op.op], ["result", `${op.dtype}[${op.shape}]`], ["work", `${flopsText(op.flops)}, ${bytesText(op.bytes)}`], ["owner", owner]];
  if (op.composite) rows.push(["composite", op.mates.length > 1 ? `${op.composite} (${op.mates.length} ops)` : op.composite]);
  return rows;
}
function partitionFacts(p) {
  return [["target", `${OWNERS[p.owner].name} ${OWNERS[p.owner].version}`], ["ops", String(p.ops.length)], ["work", flopsText(p.flops)],
    ["in", bytesText(p.bytesIn)], ["out", bytesText(p.bytesOut)], ["composites", p.counts.map(([n, c]) => (c > 1 ? `${n} x${c}` : n)).join(", ")],
    ["first node", p.ops[0].label]];
}
function verdictsOf(op) {
  return op.verdicts.map((v) => {
    const box = element("div", undefined, { class: v.accepted ? "accepted" : "refused" });
    const pattern = v.pattern ? ` ("${v.pattern}")` : "";
    box.append(element("div", v.accepted ? `${v.target} accepts it${pattern}` : `${v.target} refuses it, stage ${v.stage}${pattern}`));
    if (v.reason) box.append(element("div", v.reason));
    if (v.at) box.append(element("div", `at ${v.at}`));
    return box;
  });
}

function showCard(thing, x, y) {
  const card = byId("card");
  card.hidden = !thing;
  if (!thing) return;
  card.replaceChildren(element("strong", titleOf(thing)), facts(factsOf(thing)), ...(thing.kind === "op" ? verdictsOf(thing) : []));
  const stage = byId("stage").getBoundingClientRect();
  card.style.left = `${Math.max(4, Math.min(x + 16, stage.width - card.offsetWidth - 8))}px`;
  card.style.top = `${Math.max(4, Math.min(y + 16, stage.height - card.offsetHeight - 8))}px`;
}

function linkTo(thing) {
  const button = element("button", titleOf(thing), { class: "link", type: "button" });
  button.addEventListener("click", () => reveal(thing));
  return button;
}
function listOf(title, things) {
  if (!things.length) return [];
  const list = element("ul");
  for (const thing of things.slice(0, 40)) { const entry = element("li"); entry.append(linkTo(thing)); list.append(entry); }
  return [element("h2", title), list];
}
function showDetails(thing) {
  const place = byId("details");
  if (!thing) { place.replaceChildren(element("p", "Nothing is selected. Click a box, or search.")); return; }
  const parts = [element("h2", titleOf(thing)), facts(factsOf(thing))];
  if (thing.kind === "partition") {
    const button = element("button", thing.open ? "Collapse" : "Expand", { type: "button", id: "toggle" });
    button.addEventListener("click", () => toggle(thing));
    parts.push(button, ...listOf("Ops", thing.ops));
  } else {
    const ops = thing.fn.ops;
    parts.push(...verdictsOf(thing), ...(thing.partition >= 0 ? listOf("Partition", [thing.fn.partitions[thing.partition]]) : []),
      ...listOf("Reads", thing.producers.map((i) => ops[i])), ...listOf("Read by", thing.readers.map((i) => ops[i])));
  }
  place.replaceChildren(...parts);
  byId("said").textContent = `${titleOf(thing)}. ${factsOf(thing).map((r) => r.join(" ")).join(", ")}`;
}

function searchable(thing) {
  if (thing.kind === "partition") return `${thing.symbol} ${OWNERS[thing.owner].name}`.toLowerCase();
  return [thing.label, thing.type, thing.op, ...thing.verdicts.flatMap((v) => [v.stage, v.reason])].join(" ").toLowerCase();
}
let haystack = null, found = [], foundAt = -1;
function search(text) {
  haystack = haystack || [...PARTITIONS, ...OPS].map((thing) => [thing, searchable(thing)]);
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  found = words.length ? haystack.filter(([, hay]) => words.every((w) => hay.includes(w))).map(([thing]) => thing) : [];
  foundAt = -1;
  matches = new Set(found.map((t) => (visible(t) ? t : t.fn.partitions[t.partition] || t)));
  const list = byId("found");
  list.replaceChildren(...found.slice(0, 60).map((thing) => { const entry = element("li"); entry.append(linkTo(thing)); return entry; }));
  byId("count").textContent = words.length ? `${found.length} found` : "";
  redraw();
}
function nextFound() {
  if (!found.length) return;
  foundAt = (foundAt + 1) % found.length;
  reveal(found[foundAt]);
}

function showLegend() {
  const rows = [];
  if (quantity) {
    const bar = element("canvas", undefined, { width: 140, height: 12 }), c = bar.getContext("2d"), step = 140 / DATA.scale.length;
    DATA.scale.forEach((colour, k) => { c.fillStyle = colour; c.fillRect(k * step, 0, step + 1, 12); });
    const [low, high] = range(quantity), row = element("div");
    row.append(element("span", quantityText(low, quantity)), bar, element("span", quantityText(high, quantity)));
    rows.push(element("strong", quantity === "seconds" ? "time" : quantity), row);
  }
  OWNERS.forEach((owner, k) => {
    const sample = element("canvas", undefined, { width: 26, height: 14 }), c = sample.getContext("2d"), row = element("div");
    c.fillStyle = c.createPattern(swatch(owner), "repeat");
    c.fillRect(0, 0, 26, 14);
    const own = OPS.filter((op) => op.owner === k).length;
    row.append(sample, element("span", `${owner.name} ${owner.version}`.trim()), element("span", plural(own, "op")));
    rows.push(row);
  });
  rows.push(element("div", "▸ closed partition, ▾ open one"));
  byId("legend").replaceChildren(...rows);
}
