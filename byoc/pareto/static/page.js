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

  const SIZE = { width: 960, height: 440, left: 70, right: 20, top: 16, bottom: 46 };
  function ticks(low, high, count) {
    const rough = (high - low) / count, power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= rough), made = [];
    for (let v = Math.ceil(low / step) * step; v <= high + step * 1e-9; v += step) made.push(Math.abs(v) < step / 1e6 ? 0 : v);
    return made;
  }

  function drawPlot(seen) {
    const svg = document.querySelector("#plot svg");
    svg.replaceChildren();
    svg.setAttribute("viewBox", `0 0 ${SIZE.width} ${SIZE.height}`);
    if (!seen.length) { svg.append(element("text", { x: 80, y: 40 }, "No configuration passes the filters.")); return; }
    const totals = seen.map((row) => row.memory.total / 2 ** 20);
    const pad = (a, b) => ((b - a) || Math.abs(b) || 1) * 0.06;
    let [x0, x1] = [Math.min(...totals), Math.max(...totals)];
    [x0, x1] = [Math.max(0, x0 - pad(x0, x1)), x1 + pad(x0, x1)];
    let [y0, y1] = [Math.min(0, ...seen.map((r) => r.loss.value)), Math.max(1, ...seen.map((r) => r.loss.value))];
    [y0, y1] = [y0 - pad(y0, y1), y1 + pad(y0, y1)];
    const x = (v) => SIZE.left + ((v - x0) / (x1 - x0)) * (SIZE.width - SIZE.left - SIZE.right);
    const y = (v) => SIZE.height - SIZE.bottom - ((v - y0) / (y1 - y0)) * (SIZE.height - SIZE.top - SIZE.bottom);
    const inside = (v) => Math.min(y1, Math.max(y0, v));
    for (const v of ticks(x0, x1, 8)) {
      svg.append(element("path", { class: "axis", d: `M${x(v)} ${SIZE.top}V${SIZE.height - SIZE.bottom}` }));
      svg.append(element("text", { class: "soft", x: x(v), y: SIZE.height - 28, "text-anchor": "middle" }, +v.toPrecision(6)));
    }
    for (const v of ticks(y0, y1, 6)) {
      svg.append(element("path", { class: "axis", d: `M${SIZE.left} ${y(v)}H${SIZE.width - SIZE.right}` }));
      svg.append(element("text", { class: "soft", x: SIZE.left - 8, y: y(v) + 4, "text-anchor": "end" }, +v.toPrecision(6) + "%"));
    }
    svg.append(element("text", { x: (SIZE.left + SIZE.width) / 2, y: SIZE.height - 8, "text-anchor": "middle" }, "memory in MiB: weights, cache, activations"));
    svg.append(element("text", { x: -SIZE.height / 2, y: 16, "text-anchor": "middle", transform: "rotate(-90)" }, "loss"));
    const front = seen.filter((row) => row.frontier);
    let path = "";
    front.forEach((row, i) => { const [a, b] = [x(row.memory.total / 2 ** 20), y(row.loss.value)]; path += i ? `H${a}V${b}` : `M${a} ${b}`; });
    svg.append(element("path", { class: "step", d: path + `H${SIZE.width - SIZE.right}` }));
    for (const row of [...seen.filter((r) => !r.frontier), ...front]) {
      const [a, b] = [x(row.memory.total / 2 ** 20), y(row.loss.value)];
      if (row.frontier) svg.append(element("path", { class: "whisker", d: `M${a} ${y(inside(row.loss.low))}V${y(inside(row.loss.high))}` }));
      const kind = "point" + (row.frontier ? " frontier" : "") + (row.part < 1 ? " early" : "");
      const point = element("circle", { class: kind, cx: a, cy: b, r: row.frontier ? 6 : 4.5, tabindex: 0, "aria-label": name(row) });
      for (const event of ["mouseenter", "focus"]) point.addEventListener(event, () => tell(row, a, b));
      for (const event of ["mouseleave", "blur"]) point.addEventListener(event, () => { document.getElementById("tip").hidden = true; });
      point.addEventListener("click", () => choose(row));
      svg.append(point);
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
    ["prefill/s", (r) => (r.resident ? r.resident.prefill_rate : -1), (v) => (v < 0 ? "" : v.toFixed(0))],
    ["decode/s", (r) => (r.resident ? r.resident.decode_rate : -1), (v) => (v < 0 ? "" : v.toFixed(0))],
    ["resident", (r) => (r.resident ? r.resident.peak : -1), (v) => (v < 0 ? "" : mib(v))],
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
      const svg = element("svg", { width: 110 + 78 * across.length, height: 30 + 34 * down.length, role: "img", "aria-label": task });
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
