// Moving about: mouse, wheel, touch and keys.
let waiting = false;
function redraw() {
  if (waiting) return;
  waiting = true;
  requestAnimationFrame(() => { waiting = false; paint(); });
}
function layOut() {
  arrangeAll();
  drawMap();
  redraw();
}

function fit() {
  const w = canvas.clientWidth, h = canvas.clientHeight;
  // A picture too large to be read as a whole starts at its beginning, at a scale that can be read.
  view.scale = Math.min(1.4, w / view.width, h / view.height);
  view.x = (view.width - w / view.scale) / 2;
  view.y = (view.height - h / view.scale) / 2;
  redraw();
}
function fitReadably() {
  fit();
  if (view.scale >= 0.34) return;
  view.scale = 0.75;
  const first = FUNCTIONS[0].boxes[0];
  view.x = first ? first.x + first.w / 2 - canvas.clientWidth / 2 / view.scale : 0;
  if (first && first.w > canvas.clientWidth / view.scale) view.x = first.x - 20;
  view.x = Math.max(-20, view.x);
  view.y = 0;
  redraw();
}
function zoomAt(factor, x, y) {
  const scale = Math.max(0.01, Math.min(4, view.scale * factor));
  view.x += x / view.scale - x / scale;
  view.y += y / view.scale - y / scale;
  view.scale = scale;
  redraw();
}
function moveTo(box) {
  if (view.scale < 0.5) view.scale = 0.9;
  view.x = box.x + box.w / 2 - canvas.clientWidth / 2 / view.scale;
  view.y = box.y + Math.min(box.h, canvas.clientHeight / view.scale) / 2 - canvas.clientHeight / 2 / view.scale;
  redraw();
}

function select(thing) {
  selected = thing;
  showDetails(thing);
  redraw();
}
function toggle(partition) {
  const anchor = { x: partition.box.x, y: partition.box.y };
  partition.open = !partition.open;
  layOut();
  view.x += partition.box.x - anchor.x;
  view.y += partition.box.y - anchor.y;
  if (selected && !visible(selected)) selected = partition;
  select(selected || partition);
}
function setAll(open) {
  view.base = open ? "expanded" : "collapsed";
  for (const p of PARTITIONS) p.open = open;
  if (selected && !visible(selected)) selected = selected.fn.partitions[selected.partition];
  layOut();
  fitReadably();
  showDetails(selected);
}
function reveal(thing) {
  if (!visible(thing)) {
    thing.fn.partitions[thing.partition].open = true;
    layOut();
  }
  select(thing);
  moveTo(thing.box);
}

const pointers = new Map();
let dragged = false;
canvas.addEventListener("pointerdown", (event) => {
  canvas.setPointerCapture(event.pointerId);
  pointers.set(event.pointerId, [event.offsetX, event.offsetY]);
  dragged = false;
});
canvas.addEventListener("pointermove", (event) => {
  const before = pointers.get(event.pointerId), now = [event.offsetX, event.offsetY];
  if (!before) return hover(...now);
  const others = [...pointers].filter(([id]) => id !== event.pointerId).map(([, p]) => p);
  if (Math.hypot(now[0] - before[0], now[1] - before[1]) > 2) dragged = true;
  if (others.length) {
    const spread = (p) => Math.hypot(p[0] - others[0][0], p[1] - others[0][1]) || 1;
    zoomAt(spread(now) / spread(before), others[0][0], others[0][1]);
  } else if (dragged) {
    view.x -= (now[0] - before[0]) / view.scale;
    view.y -= (now[1] - before[1]) / view.scale;
    showCard(null);
    redraw();
  }
  if (dragged) pointers.set(event.pointerId, now);
});
canvas.addEventListener("pointerup", (event) => {
  pointers.delete(event.pointerId);
  if (!dragged) select(thingAt(view.x + event.offsetX / view.scale, view.y + event.offsetY / view.scale));
});
canvas.addEventListener("pointercancel", (event) => pointers.delete(event.pointerId));
canvas.addEventListener("pointerleave", () => { hovered = null; showCard(null); redraw(); });
canvas.addEventListener("dblclick", (event) => {
  const thing = thingAt(view.x + event.offsetX / view.scale, view.y + event.offsetY / view.scale);
  if (thing && thing.kind === "partition") toggle(thing);
});
canvas.addEventListener("wheel", (event) => {
  event.preventDefault();
  const pixels = event.deltaY * (event.deltaMode === 1 ? 20 : 1);
  zoomAt(Math.exp(-pixels * 0.0016), event.offsetX, event.offsetY);
}, { passive: false });
function hover(x, y) {
  const thing = thingAt(view.x + x / view.scale, view.y + y / view.scale);
  showCard(thing, x, y);
  if (thing !== hovered) { hovered = thing; redraw(); }
}
map.addEventListener("pointerdown", (event) => {
  view.x = event.offsetX / mapScale - canvas.clientWidth / 2 / view.scale;
  view.y = event.offsetY / mapScale - canvas.clientHeight / 2 / view.scale;
  redraw();
});

// The nearest box in a direction: along it counts once, across it three times.
function neighbour(dx, dy) {
  const boxes = [...shown()];
  if (!selected || !visible(selected)) return boxes.length ? boxes[0].item : null;
  const cx = selected.box.x + selected.box.w / 2, cy = selected.box.y + (selected.open ? 10 : selected.box.h / 2);
  let best = null, least = Infinity;
  for (const box of boxes) {
    if (box.item === selected) continue;
    const x = box.x + box.w / 2 - cx, y = box.y + (box.item.open ? 10 : box.h / 2) - cy, along = x * dx + y * dy, across = Math.abs(x * dy) + Math.abs(y * dx);
    if (along > 1 && along + 3 * across < least) { least = along + 3 * across; best = box.item; }
  }
  return best;
}
const KEYS = {
  ArrowUp: () => step(0, -1), ArrowDown: () => step(0, 1), ArrowLeft: () => step(-1, 0), ArrowRight: () => step(1, 0),
  Enter: () => selected && (selected.kind === "partition" ? toggle(selected) : selected.partition >= 0 && toggle(selected.fn.partitions[selected.partition])),
  "+": () => zoomAt(1.3, canvas.clientWidth / 2, canvas.clientHeight / 2), "=": () => KEYS["+"](),
  "-": () => zoomAt(1 / 1.3, canvas.clientWidth / 2, canvas.clientHeight / 2),
  0: fit, e: () => setAll(true), c: () => setAll(false), "/": () => byId("search").focus(), Escape: () => { byId("search").value = ""; search(""); select(null); },
};
function step(dx, dy) {
  const next = neighbour(dx, dy);
  if (!next) return;
  select(next);
  moveTo(next.box);
}
canvas.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || !KEYS[event.key]) return;
  event.preventDefault();
  KEYS[event.key]();
});

byId("search").addEventListener("input", (event) => search(event.target.value));
byId("search").addEventListener("keydown", (event) => {
  if (event.key === "Enter") nextFound();
  if (event.key === "Escape") { KEYS.Escape(); canvas.focus(); }
});
byId("expand").addEventListener("click", () => setAll(true));
byId("collapse").addEventListener("click", () => setAll(false));
byId("fit").addEventListener("click", fit);
byId("theme").addEventListener("click", () => setTheme(document.documentElement.dataset.theme === "dark" ? "light" : "dark"));
byId("colour").addEventListener("change", (event) => { quantity = event.target.value; showLegend(); redraw(); });
function setTheme(name) {
  document.documentElement.dataset.theme = name;
  readTheme();
  showLegend();
  drawMap();
  redraw();
}

for (const name of Object.keys(DATA.overlays)) byId("colour").append(element("option", name === "seconds" ? "time" : name, { value: name }));
byId("colour").parentElement.hidden = !Object.keys(DATA.overlays).length;
readTheme();
showLegend();
showDetails(null);
document.documentElement.dataset.theme = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
readTheme();
arrangeAll();
drawMap();
new ResizeObserver(redraw).observe(canvas);
fitReadably();
