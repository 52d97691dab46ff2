// Where everything is. The two base layouts (all partitions closed, all open) come with the plan; when single partitions
// are opened, room is made for them by a map that only ever moves things apart, so that the picture keeps its order.
const HEADER = DATA.sizes.header, PADDING = DATA.sizes.padding, FUNCTION_GAP = 120, TITLE = 34;

function stretch(intervals) {
  const cuts = [...new Set(intervals.flatMap((i) => [i.lo, i.hi]))].sort((a, b) => a - b);
  if (!cuts.length) return (v) => v;
  const index = new Map(cuts.map((c, k) => [c, k])), moved = [cuts[0]];
  const ending = cuts.map(() => []);
  for (const i of intervals) ending[index.get(i.hi)].push(i);
  for (let k = 1; k < cuts.length; k += 1) {
    moved[k] = moved[k - 1] + cuts[k] - cuts[k - 1];
    for (const i of ending[k]) moved[k] = Math.max(moved[k], moved[index.get(i.lo)] + i.size);
  }
  return (v) => {
    if (v <= cuts[0]) return v;
    let low = 0, high = cuts.length - 1;
    if (v >= cuts[high]) return v + moved[high] - cuts[high];
    while (high - low > 1) { const middle = (low + high) >> 1; if (cuts[middle] <= v) low = middle; else high = middle; }
    return moved[low] + ((v - cuts[low]) * (moved[high] - moved[low])) / (cuts[high] - cuts[low]);
  };
}

function sizeIn(item, base) {
  if (item.kind === "op") return [OP_W, OP_H];
  return base === "expanded" ? item.size : [PART_W, PART_H];
}

// Sets fn.boxes (x, y, w, h of each item), fn.paths, fn.width, fn.height from fn.base and what is open.
function arrange(fn, base, left) {
  const layout = fn.layouts[base];
  const rects = fn.items.map((item, k) => {
    const [w, h] = sizeIn(item, base);
    return { x: layout.at[3 * k], y: layout.at[3 * k + 1], column: layout.at[3 * k + 2], w, h };
  });
  const growing = base === "collapsed" ? fn.items.map((item, k) => [item, rects[k]]).filter(([item]) => item.open) : [];
  const mapX = stretch(growing.map(([item, r]) => ({ lo: r.x, hi: r.x + r.w, size: item.size[0] })));
  const columns = new Map();
  for (const [item, r] of growing) {
    if (!columns.has(r.column)) columns.set(r.column, []);
    columns.get(r.column).push({ lo: r.y, hi: r.y + r.h, size: item.size[1] });
  }
  const maps = new Map([...columns].map(([c, intervals]) => [c, stretch(intervals)]));
  const mapY = (v, column) => (maps.has(column) ? maps.get(column)(v) : v);
  fn.boxes = fn.items.map((item, k) => {
    const r = rects[k], x0 = mapX(r.x), x1 = mapX(r.x + r.w), y0 = mapY(r.y, r.column), y1 = mapY(r.y + r.h, r.column);
    const grown = base === "collapsed" && item.open;
    const w = grown ? item.size[0] : r.w, h = grown ? item.size[1] : r.h;
    const box = { item, x: left + (x0 + x1 - w) / 2, y: TITLE + (y0 + y1 - h) / 2, w, h };
    item.box = box;
    return box;
  });
  fn.routes = layout.routes.map(([a, b, side, flat]) => {
    const points = [];
    for (let k = 0; k < flat.length; k += 3) points.push([left + mapX(flat[k]), TITLE + mapY(flat[k + 1], flat[k + 2])]);
    const from = fn.boxes[a], to = fn.boxes[b];
    return { from: from.item, to: to.item, path: anchored(points, from, to, side) };
  });
  fn.lines = joined(fn.routes.map((r) => r.path));
  fn.left = left;
  fn.width = Math.max(...fn.boxes.map((b) => b.x + b.w)) - left + 40;
  fn.height = Math.max(...fn.boxes.map((b) => b.y + b.h)) + 40;
  for (const p of fn.partitions) if (p.open) placeInner(p);
}

function anchored(points, from, to, side) {
  const start = [from.x + from.w / 2, from.y + from.h], end = [to.x + to.w / 2, to.y], last = points.length - 1;
  points[0] = start;
  points[last] = end;
  if (side) {
    points[1][0] = start[0];
    points[last - 1][0] = end[0];
  }
  return side ? cornered(points) : curved(points);
}

function curved(points) {
  const path = new Path2D();
  path.moveTo(...points[0]);
  for (let k = 1; k < points.length; k += 1) {
    const [x0, y0] = points[k - 1], [x1, y1] = points[k], bend = (y1 - y0) / 2;
    path.bezierCurveTo(x0, y0 + bend, x1, y1 - bend, x1, y1);
  }
  arrow(path, points[points.length - 1]);
  return path;
}

function cornered(points) {
  const path = new Path2D();
  path.moveTo(...points[0]);
  for (let k = 1; k < points.length - 1; k += 1) path.arcTo(...points[k], ...points[k + 1], 6);
  path.lineTo(...points[points.length - 1]);
  arrow(path, points[points.length - 1]);
  return path;
}

function arrow(path, [x, y]) {
  path.moveTo(x - 3.5, y - 6);
  path.lineTo(x, y);
  path.lineTo(x + 3.5, y - 6);
}

function joined(paths) {
  const all = new Path2D();
  for (const path of paths) all.addPath(path);
  return all;
}

// The ops of an open partition, at their places inside its box.
function placeInner(partition) {
  const { x, y, w } = partition.box, inner = partition.inner;
  const left = x + (w - inner.width) / 2, top = y + HEADER;
  partition.ops.forEach((op, k) => { op.box = { item: op, x: left + inner.at[3 * k], y: top + inner.at[3 * k + 1], w: OP_W, h: OP_H }; });
  partition.routes = inner.routes.map(([a, b, side, flat]) => {
    const points = [];
    for (let k = 0; k < flat.length; k += 3) points.push([left + flat[k], top + flat[k + 1]]);
    return { from: partition.ops[a], to: partition.ops[b], path: side ? cornered(points) : curved(points) };
  });
  partition.lines = joined(partition.routes.map((r) => r.path));
}

const view = { base: "collapsed", scale: 1, x: 0, y: 0, width: 0, height: 0 };

function arrangeAll() {
  let left = 0;
  view.height = 0;
  for (const fn of FUNCTIONS) {
    if (fn.items.length) arrange(fn, view.base, left);
    else Object.assign(fn, { boxes: [], routes: [], lines: new Path2D(), left, width: 120, height: 60 });
    left += fn.width + FUNCTION_GAP;
    view.height = Math.max(view.height, fn.height);
  }
  view.width = Math.max(1, left - FUNCTION_GAP);
}

function* shown() {
  for (const fn of FUNCTIONS) {
    for (const box of fn.boxes) {
      yield box;
      if (box.item.kind === "partition" && box.item.open) for (const op of box.item.ops) yield op.box;
    }
  }
}
const within = (box, x, y) => x >= box.x && x <= box.x + box.w && y >= box.y && y <= box.y + box.h;
function thingAt(x, y) {
  let found = null;
  for (const box of shown()) if (within(box, x, y)) found = box.item;
  return found;
}
