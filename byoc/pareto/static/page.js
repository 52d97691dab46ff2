"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const rows = data.rows.map((row, index) => {
    const [bits, ...options] = row.kv.split(";")[0].split(":");
    const pick = (pattern, usual) => options.filter((o) => pattern.test(o)).join(" ") || (/v(16|32)$/.test(bits) ? "none" : usual);
    return {
      ...row, index, bits, granularity: pick(/per-/, "per-token"), group: pick(/^([kv]\.)?g\d/, options.includes("per-tensor") ? "none" : "g32"),
      "key transform": pick(/^(mean|hadamard)$/, "none"), layers: row.kv.includes(";") ? "mixed" : "uniform",
    };
  });
  const NS = "http://www.w3.org/2000/svg";
  const mib = (bytes) => (bytes >= 2 ** 30 ? (bytes / 2 ** 30).toFixed(2) + " GiB" : (bytes / 2 ** 20).toFixed(2) + " MiB");
  const percent = (x) => x.toFixed(2) + "%";
  const name = (row) => `${row.kv} ${row.weights} ${row.chunk ? "chunk " + row.chunk : "one chunk"}`;

  function element(tag, attributes = {}, text = "") {
    const made = document.createElementNS(NS, tag);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    if (text) made.textContent = text;
    return made;
  }

  const axes = ["bits", "granularity", "group", "key transform", "weights", "chunk", "layers"];
  const hidden = new Set();
  let mostLoss = Infinity;
  const shown = (row) => row.loss.value <= mostLoss && axes.every((axis) => !hidden.has(axis + "=" + row[axis]));

  function drawFilters() {
    const form = document.getElementById("filters");
    for (const axis of axes) {
      const values = [...new Set(rows.map((row) => row[axis]))];
      if (values.length < 2) continue;
      const set = document.createElement("fieldset");
      set.append(axis + ": ");
      for (const value of values) {
        const label = document.createElement("label"), box = document.createElement("input");
        box.type = "checkbox";
        box.checked = true;
        box.dataset.key = axis + "=" + value;
        box.addEventListener("change", () => {
          if (box.checked) hidden.delete(box.dataset.key); else hidden.add(box.dataset.key);
          draw();
        });
        label.append(box, " " + (value === 0 ? "off" : value));
        set.append(label);
      }
      form.append(set);
    }
    form.append(lossFilter());
  }

  function lossFilter() {
    const label = document.createElement("label"), select = document.createElement("select");
    select.id = "most-loss";
    for (const percents of [Infinity, 20, 10, 5, 3, 1]) {
      const option = document.createElement("option");
      option.value = percents;
      option.textContent = percents === Infinity ? "any" : `up to ${percents}%`;
      select.append(option);
    }
    select.addEventListener("change", () => { mostLoss = Number(select.value); draw(); });
    label.append("loss: ", select);
    return label;
  }

  const SIZE = { width: 960, height: 460, left: 70, right: 20, top: 16, bottom: 46 };
  function ticks(low, high, count) {
    const rough = (high - low) / count, power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= rough), made = [];
    for (let v = Math.ceil(low / step) * step; v <= high + step * 1e-9; v += step) made.push(Math.abs(v) < step / 1e6 ? 0 : v);
    return made;
  }

  // Memory by ratios; loss by points near zero and by ratios beyond, so that neither the reference nor what breaks
  // pushes the others into a corner.
  const MEMORY = { bend: Math.log, marks: (low, high) => (high / low < 3 ? ticks(low, high, 8) : steps([1, 1.5, 2, 3, 4, 5, 7]).filter((v) => v >= low && v <= high)) };
  const LOSS = { bend: Math.asinh, marks: (low, high) => (high - low < 2 ? ticks(low, high, 6) : [0, ...steps([1, 2, 5]).filter((v) => v >= 0.5).flatMap((v) => [v, -v])].filter((v) => v >= low && v <= high)) };
  function steps(digits) {
    return [-3, -2, -1, 0, 1, 2, 3, 4, 5, 6].flatMap((power) => digits.map((digit) => +(digit * 10 ** power).toPrecision(3)));
  }

  function scale(kind, values, first, last) {
    const bent = values.map(kind.bend), [least, most] = [Math.min(...bent), Math.max(...bent)];
    const pad = (most - least || Math.abs(most) || 1) * 0.06;
    const place = (v) => first + ((kind.bend(v) - least + pad) / (most - least + 2 * pad)) * (last - first);
    return { place, marks: kind.marks(Math.min(...values), Math.max(...values)) };
  }

  function drawPlot(seen) {
    const svg = document.querySelector("#plot svg");
    svg.replaceChildren();
    svg.setAttribute("viewBox", `0 0 ${SIZE.width} ${SIZE.height}`);
    if (!seen.length) { svg.append(element("text", { x: 80, y: 40 }, "No configuration passes the filters.")); return; }
    const [right, foot] = [SIZE.width - SIZE.right, SIZE.height - SIZE.bottom];
    const front = seen.filter((row) => row.frontier), size = (row) => row.memory.total / 2 ** 20;
    const x = scale(MEMORY, seen.map(size), SIZE.left, right);
    const y = scale(LOSS, [0, 1, ...seen.map((row) => row.loss.value), ...front.flatMap((row) => [row.loss.low, row.loss.high])], foot, SIZE.top);
    for (const v of x.marks) {
      svg.append(element("path", { class: "axis", d: `M${x.place(v)} ${SIZE.top}V${foot}` }));
      svg.append(element("text", { class: "soft", x: x.place(v), y: SIZE.height - 28, "text-anchor": "middle" }, +v.toPrecision(6)));
    }
    for (const v of y.marks) {
      svg.append(element("path", { class: "axis", d: `M${SIZE.left} ${y.place(v)}H${right}` }));
      svg.append(element("text", { class: "soft", x: SIZE.left - 8, y: y.place(v) + 4, "text-anchor": "end" }, +v.toPrecision(6) + "%"));
    }
    svg.append(element("text", { x: (SIZE.left + SIZE.width) / 2, y: SIZE.height - 8, "text-anchor": "middle" }, "memory in MiB: weights, cache, activations"));
    svg.append(element("text", { x: -SIZE.height / 2, y: 16, "text-anchor": "middle", transform: "rotate(-90)" }, "loss"));
    const placed = (row) => [x.place(size(row)), y.place(row.loss.value)];
    const path = front.map(placed).map(([a, b], i) => (i ? `H${a}V${b}` : `M${a} ${b}`)).join("");
    if (path) svg.append(element("path", { class: "step", d: path + `H${right}` }));
    for (const row of front) svg.append(element("path", { class: "whisker", d: `M${placed(row)[0]} ${y.place(row.loss.low)}V${y.place(row.loss.high)}` }));
    for (const row of [...seen.filter((r) => !r.frontier), ...front]) svg.append(drawPoint(row, ...placed(row)));
    drawLabels(svg, front.map((row) => [row, ...placed(row)]), seen.map(placed));
  }

  function drawPoint(row, a, b) {
    const kind = "point" + (row.frontier ? " frontier" : "") + (row.part < 1 ? " early" : "");
    const point = element("circle", { class: kind, cx: a, cy: b, r: row.frontier ? 6 : 4.5, tabindex: 0, "aria-label": name(row) });
    for (const event of ["mouseenter", "focus"]) point.addEventListener(event, () => tell(row, a, b));
    for (const event of ["mouseleave", "blur"]) point.addEventListener(event, () => { document.getElementById("tip").hidden = true; });
    point.addEventListener("click", () => choose(row));
    return point;
  }

  // Names of the frontier, each at the nearest place that no point and no other name has.
  function drawLabels(svg, named, points) {
    const taken = points.map(([a, b]) => [a - 7, b - 7, a + 7, b + 7]);
    const free = (box) => box[1] > SIZE.top && box[2] < SIZE.width - SIZE.right && box[3] < SIZE.height - SIZE.bottom &&
      taken.every((other) => box[0] > other[2] || box[2] < other[0] || box[1] > other[3] || box[3] < other[1]);
    for (const [row, a, b] of named) {
      const text = `${row.kv} ${row.weights}`, wide = 6.7 * text.length;
      const offsets = [12, 40, 80, 130].flatMap((right) => [-12, 0, 14, -28, 28, -44, 44, -64, 64, -96, 96].map((down) => [right, down]));
      const found = offsets.map(([right, down]) => [a + right, b + down - 8, a + right + wide, b + down + 6]).find(free);
      if (!found) continue;
      taken.push(found);
      svg.append(element("path", { class: "leader", d: `M${a} ${b}L${found[0] - 2} ${found[1] + 8}` }));
      svg.append(element("text", { class: "name", x: found[0], y: found[1] + 12 }, text));
    }
  }

  function tell(row, a, b) {
    const tip = document.getElementById("tip"), svg = document.querySelector("#plot svg");
    const scale = svg.getBoundingClientRect().width / SIZE.width;
    const lines = [name(row), `${mib(row.memory.total)}: weights ${mib(row.memory.weights)}, cache ${mib(row.memory.cache)}, activations ${mib(row.memory.activations)}`];
    lines.push(`loss ${percent(row.loss.value)} (${percent(row.loss.low)} to ${percent(row.loss.high)})`);
    for (const task of data.tasks) lines.push(`${task.name} ${row.scores[task.name].value.toFixed(4)}`);
    if (row.resident) lines.push(`prefill ${row.resident.prefill_rate.toFixed(0)}, decode ${row.resident.decode_rate.toFixed(0)} tokens/s; resident ${mib(row.resident.peak)}`);
    if (row.instead) lines.push(`not worse and not larger: ${row.instead}`);
    if (row.part < 1) lines.push(`dropped after ${Math.round(100 * row.part)}% of the items`);
    tip.textContent = lines.join("\n");
    tip.hidden = false;
    tip.style.left = Math.min(a * scale + 12, svg.getBoundingClientRect().width - tip.offsetWidth) + "px";
    tip.style.top = b * scale + 12 + "px";
  }

  const columns = [
    ["configuration", name], ["memory", (r) => r.memory.total, mib], ["weights", (r) => r.memory.weights, mib],
    ["cache", (r) => r.memory.cache, mib], ["activations", (r) => r.memory.activations, mib],
    ["loss", (r) => r.loss.value, percent], ["from", (r) => r.loss.low, percent], ["to", (r) => r.loss.high, percent],
    ...data.tasks.map((t) => [t.name, (r) => r.scores[t.name].value, (v) => v.toFixed(4)]),
    ["items", (r) => r.part, (v) => Math.round(100 * v) + "%"],
    ...(rows.some((row) => row.resident) ? [
      ["prefill/s", (r) => (r.resident ? r.resident.prefill_rate : -1), (v) => (v < 0 ? "" : v.toFixed(0))],
      ["decode/s", (r) => (r.resident ? r.resident.decode_rate : -1), (v) => (v < 0 ? "" : v.toFixed(0))],
      ["resident", (r) => (r.resident ? r.resident.peak : -1), (v) => (v < 0 ? "" : mib(v))],
    ] : []),
  ];
  let order = { column: 1, up: true };
  function drawTable(seen) {
    const table = document.getElementById("all"), head = document.createElement("tr"), body = document.createElement("tbody");
    columns.forEach(([title], i) => {
      const cell = document.createElement("th");
      cell.textContent = title + (i === order.column ? (order.up ? " ▲" : " ▼") : "");
      cell.addEventListener("click", () => { order = { column: i, up: i === order.column ? !order.up : true }; draw(); });
      head.append(cell);
    });
    const value = columns[order.column][1], sign = order.up ? 1 : -1;
    for (const row of [...seen].sort((a, b) => sign * (value(a) < value(b) ? -1 : value(a) > value(b) ? 1 : a.index - b.index))) {
      const line = document.createElement("tr");
      if (row.frontier) line.className = "frontier";
      for (const [, get, text] of columns) {
        const cell = document.createElement("td");
        cell.textContent = text ? text(get(row)) : get(row);
        line.append(cell);
      }
      body.append(line);
    }
    const top = document.createElement("thead");
    top.append(head);
    table.replaceChildren(top, body);
  }

  const mapped = rows.filter((row) => Object.keys(row.maps).length && row.part === 1);
  function choose(row) {
    const select = document.getElementById("chosen");
    if (mapped.includes(row)) { select.value = row.index; drawMaps(); }
  }
  function drawMaps() {
    const row = rows[document.getElementById("chosen").value], place = document.getElementById("maps");
    place.replaceChildren();
    for (const [task, cells] of Object.entries(row.maps)) {
      const down = [...new Set(cells.map((c) => c.row))], across = [...new Set(cells.map((c) => c.column))];
      const figure = document.createElement("figure"), caption = document.createElement("figcaption");
      caption.textContent = task;
      const [wide, high] = [110 + 78 * across.length, 30 + 34 * down.length];
      const svg = element("svg", { width: wide, height: high, viewBox: `0 0 ${wide} ${high}`, role: "img", "aria-label": task });
      across.forEach((c, i) => svg.append(element("text", { x: 145 + 78 * i, y: 18, "text-anchor": "middle" }, c)));
      down.forEach((r, i) => svg.append(element("text", { x: 100, y: 50 + 34 * i, "text-anchor": "end" }, r)));
      for (const cell of cells) {
        const [i, j] = [across.indexOf(cell.column), down.indexOf(cell.row)];
        svg.append(element("rect", { x: 108 + 78 * i, y: 28 + 34 * j, width: 76, height: 32, fill: `hsl(${20 + 190 * cell.score} 60% ${72 - 30 * cell.score}%)` }));
        const text = element("text", { x: 146 + 78 * i, y: 49 + 34 * j, "text-anchor": "middle" }, cell.score.toFixed(2));
        text.style.fill = cell.score > 0.6 ? "#fff" : "#111";
        svg.append(text);
      }
      figure.append(caption, svg);
      place.append(figure);
    }
  }

  function draw() {
    const seen = rows.filter(shown);
    drawPlot(seen);
    drawTable(seen);
  }

  drawFilters();
  draw();
  if (mapped.length) {
    const select = document.getElementById("chosen");
    for (const row of [...mapped.filter((r) => r.frontier), ...mapped.filter((r) => !r.frontier)]) {
      const option = document.createElement("option");
      option.value = row.index;
      option.textContent = name(row) + (row.frontier ? " (frontier)" : "");
      select.append(option);
    }
    document.getElementById("maps-title").hidden = document.getElementById("chooser").hidden = false;
    select.addEventListener("change", drawMaps);
    drawMaps();
  }
})();
