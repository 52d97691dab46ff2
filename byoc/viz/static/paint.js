// Draws the picture on a canvas: only what is in sight, and no more detail than can be seen at the scale.
const canvas = document.getElementById("graph"), pen = canvas.getContext("2d");
const FONT = 'system-ui, "DejaVu Sans", sans-serif';
let colours = {}, tints = [], patterns = [];
let selected = null, hovered = null, matches = new Set(), quantity = "";

function readTheme() {
  const style = getComputedStyle(document.documentElement);
  for (const name of ["paper", "panel", "ink", "soft", "line", "box", "host", "edge", "focus"]) colours[name] = style.getPropertyValue(`--${name}`).trim();
  const mix = Number(style.getPropertyValue("--mix"));
  tints = OWNERS.map((o, k) => (k === HOST ? colours.host : blend(colours.box, o.colour, mix)));
  patterns = OWNERS.map((o) => pen.createPattern(swatch(o), "repeat"));
}
const channels = (hex) => [1, 3, 5].map((k) => parseInt(hex.slice(k, k + 2), 16));
function blend(a, b, t) {
  const from = channels(a), to = channels(b);
  return `#${from.map((v, k) => Math.round(v + (to[k] - v) * t).toString(16).padStart(2, "0")).join("")}`;
}
const isLight = (hex) => { const [r, g, b] = channels(hex); return 0.299 * r + 0.587 * g + 0.114 * b > 140; };

// A tile of an owner's colour with its pattern, so that owners differ without colour too.
function swatch(owner) {
  const tile = document.createElement("canvas");
  tile.width = tile.height = 8;
  const c = tile.getContext("2d");
  c.fillStyle = owner.colour;
  c.fillRect(0, 0, 8, 8);
  c.strokeStyle = c.fillStyle = "#ffffffcc";
  c.lineWidth = 1.6;
  const strokes = { diagonal: [[-2, 10, 10, -2]], "back-diagonal": [[-2, -2, 10, 10]], horizontal: [[0, 4, 8, 4]], vertical: [[4, 0, 4, 8]],
    cross: [[0, 4, 8, 4], [4, 0, 4, 8]] }[owner.pattern] || [];
  for (const [x0, y0, x1, y1] of strokes) { c.beginPath(); c.moveTo(x0, y0); c.lineTo(x1, y1); c.stroke(); }
  if (owner.pattern === "dots") for (const [x, y] of [[2, 2], [6, 6]]) { c.beginPath(); c.arc(x, y, 1.5, 0, 7); c.fill(); }
  return tile;
}

function range(name) {
  const overlay = DATA.overlays[name];
  const numbers = [...Object.values(overlay.partitions), ...Object.values(overlay.ops).flatMap(Object.values)].filter((v) => typeof v === "number" && v > 0);
  return numbers.length ? [Math.min(...numbers), Math.max(...numbers)] : [1, 1];
}
function scaleColour(value) {
  if (value === undefined) return colours.box;
  if (typeof value !== "number") return DATA.scale[DATA.scale.length - 1];
  const [low, high] = range(quantity), t = high > low && value > 0 ? Math.log(value / low) / Math.log(high / low) : value > 0 ? 1 : 0;
  return DATA.scale[Math.max(0, Math.min(DATA.scale.length - 1, Math.round(t * (DATA.scale.length - 1))))];
}
const fillOf = (thing) => (quantity ? scaleColour(measured(thing, quantity)) : tints[thing.owner]);

function paint() {
  const started = performance.now(), ratio = window.devicePixelRatio || 1, w = canvas.clientWidth, h = canvas.clientHeight;
  if (canvas.width !== Math.round(w * ratio) || canvas.height !== Math.round(h * ratio)) { canvas.width = w * ratio; canvas.height = h * ratio; }
  pen.setTransform(1, 0, 0, 1, 0, 0);
  pen.fillStyle = colours.paper;
  pen.fillRect(0, 0, canvas.width, canvas.height);
  const s = view.scale * ratio;
  pen.setTransform(s, 0, 0, s, -view.x * s, -view.y * s);
  const sight = { x0: view.x, y0: view.y, x1: view.x + w / view.scale, y1: view.y + h / view.scale };
  for (const fn of FUNCTIONS) paintFunction(fn, sight);
  paintSelection();
  paintMap(sight);
  canvas.dataset.paintMs = (performance.now() - started).toFixed(1);
}
const inSight = (b, s) => b.x <= s.x1 && b.x + b.w >= s.x0 && b.y <= s.y1 && b.y + b.h >= s.y0;

function paintFunction(fn, sight) {
  if (FUNCTIONS.length > 1) write(`function ${fn.name}`, fn.left + 32, 18, 600, "bold 16px", colours.ink);
  pen.lineWidth = Math.max(1.2, 0.7 / view.scale);
  pen.strokeStyle = colours.edge;
  pen.stroke(fn.lines);
  for (const box of fn.boxes) {
    if (!inSight(box, sight)) continue;
    if (box.item.kind === "op") paintOp(box);
    else if (box.item.open) paintOpen(box, sight);
    else paintClosed(box);
  }
}

function frame(box, fill, radius) {
  const far = view.scale < 0.2;
  pen.fillStyle = far && !quantity && !box.item.open ? OWNERS[box.item.owner].colour : fill;
  if (far) return pen.fillRect(box.x, box.y, box.w, box.h);
  pen.beginPath();
  pen.roundRect(box.x, box.y, box.w, box.h, radius);
  pen.fill();
  pen.lineWidth = 1;
  pen.strokeStyle = OWNERS[box.item.owner].colour;
  pen.stroke();
}

// Half a stroke wide at the left edge: the owner's colour and pattern.
function band(box, width) {
  pen.save();
  pen.translate(box.x, box.y);
  pen.fillStyle = view.scale < 0.3 ? OWNERS[box.item.owner].colour : patterns[box.item.owner];
  pen.fillRect(0, 0, width, box.h);
  pen.restore();
}

function paintOp(box) {
  const op = box.item, fill = fillOf(op), ink = quantity && fill !== colours.box ? (isLight(fill) ? "#111111" : "#ffffff") : colours.ink;
  frame(box, fill, 4);
  band(box, 9);
  if (op.partition >= 0) ports(box, op);
  if (view.scale < 0.34) return;
  write(op.type, box.x + 15, box.y + 16, box.w - 20, "bold 12px", ink);
  const value = quantity ? measured(op, quantity) : undefined;
  write(value === undefined ? op.label : quantityText(value, quantity), box.x + 15, box.y + 31, box.w - 20, "11px", quantity ? ink : colours.soft, true);
}

// Small marks where tensors enter and leave the partition.
function ports(box, op) {
  pen.fillStyle = colours.edge;
  if (op.fromOutside) pen.fillRect(box.x + box.w / 2 - 7, box.y - 4, 14, 3);
  if (op.toOutside) pen.fillRect(box.x + box.w / 2 - 7, box.y + box.h + 1, 14, 3);
}

function paintClosed(box) {
  const p = box.item, fill = fillOf(p), ink = quantity && fill !== colours.box ? (isLight(fill) ? "#111111" : "#ffffff") : colours.ink;
  frame(box, fill, 8);
  band(box, 14);
  // In a slot that is larger than a closed partition needs, the text grows with it.
  const k = Math.max(1, Math.min(box.w / PART_W, box.h / PART_H)), room = box.w - 14 - 14 * k;
  if (view.scale * k < 0.3) return;
  write(`▸ ${OWNERS[p.owner].name} ${p.index}`, box.x + 14 + 8 * k, box.y + 21 * k, room, `bold ${14 * k}px`, ink);
  write(`${plural(p.ops.length, "op")}, ${flopsText(p.flops)}`, box.x + 14 + 8 * k, box.y + 41 * k, room, `${12 * k}px`, ink);
  const value = quantity ? measured(p, quantity) : undefined;
  const composites = p.counts.map(([name, n]) => (n > 1 ? `${name} x${n}` : name)).join(", ");
  write(value === undefined ? composites : quantityText(value, quantity), box.x + 14 + 8 * k, box.y + 61 * k, room, `${11 * k}px`, quantity ? ink : colours.soft);
}

function paintOpen(box, sight) {
  const p = box.item;
  frame(box, blend(colours.paper, OWNERS[p.owner].colour, 0.07), 8);
  band({ ...box, h: HEADER - 8 }, 14);
  const fill = quantity ? fillOf(p) : null;
  if (fill && measured(p, quantity) !== undefined) { pen.fillStyle = fill; pen.fillRect(box.x + 14, box.y, box.w - 14, HEADER - 8); }
  const ink = fill && measured(p, quantity) !== undefined ? (isLight(fill) ? "#111111" : "#ffffff") : colours.ink;
  const value = quantity ? `, ${quantityText(measured(p, quantity), quantity)}` : "";
  if (view.scale >= 0.25) write(`▾ ${OWNERS[p.owner].name} ${p.index}: ${plural(p.ops.length, "op")}, ${flopsText(p.flops)}${value}`, box.x + 22, box.y + 18, box.w - 30, "bold 13px", ink);
  pen.lineWidth = Math.max(1, 0.6 / view.scale);
  pen.strokeStyle = colours.edge;
  pen.stroke(p.lines);
  for (const op of p.ops) if (inSight(op.box, sight)) paintOp(op.box);
}

// Text cut to a width; names keep their end, which tells them apart.
function write(text, x, y, room, font, colour, keepEnd = false) {
  pen.font = `${font} ${FONT}`;
  pen.fillStyle = colour;
  const size = Number(/([\d.]+)px/.exec(font)[1]), fits = Math.max(1, Math.floor(room / (size * 0.6)));
  let cut = text;
  if (text.length > fits && pen.measureText(text).width > room) {
    let keep = Math.min(text.length, Math.floor(fits * 1.3));
    do { keep -= 1; cut = keepEnd ? `…${text.slice(text.length - keep)}` : `${text.slice(0, keep)}…`; } while (keep > 1 && pen.measureText(cut).width > room);
  }
  pen.fillText(cut, x, y);
}

function paintSelection() {
  pen.lineWidth = Math.max(2.5, 2 / view.scale);
  for (const thing of matches) if (thing.box && visible(thing)) outline(thing.box, "#e69f00");
  if (hovered && hovered !== selected && visible(hovered)) outline(hovered.box, colours.soft);
  if (!selected || !visible(selected)) return;
  pen.strokeStyle = colours.focus;
  const routes = [...selected.fn.routes, ...(selected.kind === "op" && selected.partition >= 0 ? selected.fn.partitions[selected.partition].routes || [] : [])];
  for (const route of routes) if (route.from === selected || route.to === selected) pen.stroke(route.path);
  outline(selected.box, colours.focus);
}
const visible = (thing) => Boolean(thing.box) && (thing.kind === "partition" || thing.partition < 0 || thing.fn.partitions[thing.partition].open);
function outline(box, colour) {
  pen.strokeStyle = colour;
  pen.strokeRect(box.x - 2, box.y - 2, box.w + 4, box.h + 4);
}

// The overview in the corner: everything, and the part in sight.
const map = document.getElementById("map");
let mapScale = 1, mapPicture = null;
function drawMap() {
  mapScale = Math.min(190 / view.width, 150 / view.height);
  const w = Math.max(8, view.width * mapScale), h = Math.max(8, view.height * mapScale), ratio = window.devicePixelRatio || 1;
  map.width = w * ratio; map.height = h * ratio;
  map.style.width = `${w}px`; map.style.height = `${h}px`;
  mapPicture = document.createElement("canvas");
  mapPicture.width = map.width; mapPicture.height = map.height;
  const c = mapPicture.getContext("2d");
  c.scale(mapScale * ratio, mapScale * ratio);
  for (const box of shown()) {
    c.fillStyle = box.item.open ? blend(colours.panel, OWNERS[box.item.owner].colour, 0.3) : OWNERS[box.item.owner].colour;
    c.fillRect(box.x, box.y, box.w, box.h);
  }
}
function paintMap(sight) {
  const whole = sight.x0 <= 0 && sight.y0 <= 0 && sight.x1 >= view.width && sight.y1 >= view.height;
  map.hidden = whole;
  if (whole || !mapPicture) return;
  const c = map.getContext("2d"), ratio = window.devicePixelRatio || 1;
  c.setTransform(1, 0, 0, 1, 0, 0);
  c.clearRect(0, 0, map.width, map.height);
  c.drawImage(mapPicture, 0, 0);
  c.scale(mapScale * ratio, mapScale * ratio);
  c.lineWidth = 2 / mapScale;
  c.strokeStyle = colours.focus;
  c.strokeRect(sight.x0, sight.y0, sight.x1 - sight.x0, sight.y1 - sight.y0);
}
