// The page without this script is complete: tables stand in their given order, pictures do not move. With it, tables can
// be sorted, and the runs filtered, pictured by any measure and found again. Nothing is loaded, and all text that comes
// from the data is set as text, never as markup.
"use strict";

const make = (tag, attributes = {}, ...children) => {
  const element = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
};
const draw = (tag, attributes = {}, ...children) => {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [key, value] of Object.entries(attributes)) {
    element.setAttribute(key, typeof value === "number" ? Math.round(value * 100) / 100 : value);
  }
  element.append(...children);
  return element;
};

// Three significant digits, thousands separated, as everywhere on the page.
const number = (value) => {
  if (value === 0) return "0";
  const rounded = Number(value.toPrecision(3)), digits = Math.max(0, Math.min(12, 2 - Math.floor(Math.log10(Math.abs(value)))));
  return rounded.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits });
};
const count = (many, noun) => `${many.toLocaleString("en")} ${noun}${many === 1 ? "" : "s"}`;

// --- Sorting -------------------------------------------------------------------------------------------------------

for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0], headings = [...table.tHead.rows[0].cells];
  const value = (row, column) => {
    const cell = row.cells[column], text = (cell.dataset.value ?? cell.textContent).trim();
    const found = parseFloat(text.replaceAll(",", ""));
    return /^-?[\d.,]+/.test(text) && !Number.isNaN(found) ? found : text;
  };
  headings.forEach((heading, column) => {
    if (!heading.textContent.trim()) return;
    const button = make("button", { type: "button" }, ...heading.childNodes);
    heading.append(button);
    button.addEventListener("click", () => {
      const up = heading.getAttribute("aria-sort") !== "ascending";
      headings.forEach((other) => other.removeAttribute("aria-sort"));
      heading.setAttribute("aria-sort", up ? "ascending" : "descending");
      const keyed = [...body.rows].map((row) => [value(row, column), row]);
      keyed.sort(([a], [b]) => {
        // What is unknown stands last, whichever way the rest goes.
        if (a === "" || b === "") return (a === "") - (b === "");
        if (typeof a !== typeof b) return typeof a === "number" ? -1 : 1;
        const sign = typeof a === "number" ? a - b : a.localeCompare(b, "en", { numeric: true });
        return up ? sign : -sign;
      });
      body.append(...keyed.map(([, row]) => row));
    });
  });
}

// --- Exploring -----------------------------------------------------------------------------------------------------

const explorer = document.getElementById("explorer");
if (explorer) explore(JSON.parse(document.getElementById("trainoff-view").textContent));

function explore(view) {
  const rows = [...document.querySelectorAll("#all-runs tbody tr")];
  const rowOf = new Map(rows.map((row) => [Number(row.dataset.run), row]));
  const state = {
    measure: 0,
    devices: new Set(view.devices.keys()),
    values: view.axes.map((axis) => new Set(axis.values.keys())),
    ranges: new Map(), // measure → [least, most]
    words: "",
    picked: null, // runs of one dot, or null
    dot: null, // that dot
  };
  const dots = document.getElementById("explore-dots"), lines = document.getElementById("explore-lines");
  const said = document.getElementById("explore-status"), tip = document.getElementById("explore-tip");
  const colour = (device) => `var(--device-${view.devices[device].colour})`;
  const unit = (measure) => (measure.unit === "%" ? " %" : ` ${measure.unit}`);

  const allowed = (device, configuration) =>
    state.devices.has(device) &&
    view.configurations[configuration].at.every((value, axis) => state.values[axis].has(value));
  const inRanges = (run) =>
    [...state.ranges].every(([measure, [least, most]]) => {
      const value = run.v[measure];
      return value !== null && (least === null || value >= least) && (most === null || value <= most);
    });
  const shown = (place) => {
    const run = view.runs[place];
    return (
      allowed(run.d, run.c) && inRanges(run) && (!state.picked || state.picked.has(place)) &&
      (!state.words || rowOf.get(place).textContent.toLowerCase().includes(state.words))
    );
  };

  // --- Controls

  const controls = document.getElementById("explore-controls");
  const group = (legend, ...children) => make("fieldset", {}, make("legend", {}, legend), ...children);
  const choice = (type, name, checked, change, ...label) => {
    const input = make("input", { type, name, ...(checked ? { checked: "" } : {}) });
    input.addEventListener("change", () => change(input.checked));
    return make("label", { class: "choice" }, input, make("span", {}, ...label));
  };
  const toggle = (set, value) => (on) => {
    on ? set.add(value) : set.delete(value);
    refresh();
  };

  const measures = view.measures.map((measure, place) =>
    choice("radio", "measure", place === 0, () => { state.measure = place; refresh(); }, measure.label));
  if (measures.length > 1) controls.append(group("Show", ...measures));
  if (view.devices.length > 1) {
    controls.append(group("Devices", ...view.devices.map((device, place) =>
      choice("checkbox", `device-${place}`, true, toggle(state.devices, place), key(place), device.name))));
  }
  view.axes.forEach((axis, place) => {
    controls.append(group(axis.label, ...axis.values.map((text, value) =>
      choice("checkbox", `axis-${place}-${value}`, true, toggle(state.values[place], value), text))));
  });
  const ranges = view.measures.map((measure, place) => {
    if (!measure.runs) return null;
    const ends = ["least", "most"].map((word, end) => {
      const input = make("input", { type: "number", step: "any", "aria-label": `${measure.label}, ${word}`, placeholder: word });
      input.addEventListener("input", () => {
        const range = state.ranges.get(place) ?? [null, null];
        range[end] = input.value === "" ? null : Number(input.value);
        range[0] === null && range[1] === null ? state.ranges.delete(place) : state.ranges.set(place, range);
        refresh();
      });
      return input;
    });
    return { ends, field: make("div", { class: "range" }, make("span", {}, `${measure.label},${unit(measure)}`), ...ends) };
  });
  const search = make("input", { type: "search", "aria-label": "Find in the runs", placeholder: "Find in the runs" });
  search.addEventListener("input", () => { state.words = search.value.trim().toLowerCase(); refresh(); });
  const more = make("details", { class: "more" }, make("summary", {}, "Ranges and words"));
  more.append(make("div", { class: "ranges" }, ...ranges.filter(Boolean).map((range) => range.field), search));
  controls.append(more);
  const reset = make("button", { type: "button" }, "Show all");
  reset.addEventListener("click", () => {
    view.devices.forEach((_, place) => state.devices.add(place));
    view.axes.forEach((axis, place) => axis.values.forEach((_, value) => state.values[place].add(value)));
    state.ranges.clear();
    state.picked = null;
    state.words = search.value = "";
    controls.querySelectorAll("input[type=checkbox]").forEach((input) => { input.checked = true; });
    refresh();
  });
  said.after(reset);

  function key(device) {
    const svg = draw("svg", { viewBox: "-7 -7 14 14", class: "key", "aria-hidden": "true" });
    svg.append(draw("path", { d: mark(view.devices[device].mark, 0, 0, 5), fill: colour(device) }));
    return svg;
  }

  // --- Scales

  const known = (values) => values.filter((value) => value !== null && value !== undefined);
  function scale(values, from, to, share) {
    const least = Math.min(...values), most = Math.max(...values);
    // Shares of a whole are read from 0.
    const logarithmic = !share && least > 0 && most / least > 12;
    const low = logarithmic ? Math.log10(least) - 0.04 : 0, high = logarithmic ? Math.log10(most) + 0.04 : most * 1.02 || 1;
    const at = (value) => from + (((logarithmic ? Math.log10(value) : value) - low) / (high - low || 1)) * (to - from);
    const back = (place) => {
      const found = low + ((place - from) / (to - from)) * (high - low);
      return logarithmic ? 10 ** found : found;
    };
    return { at, back, logarithmic, ticks: (many) => ticks(low, high, logarithmic, many) };
  }
  function ticks(low, high, logarithmic, many) {
    if (logarithmic) {
      for (const steps of [[1, 2, 3, 5, 7], [1, 2, 5], [1, 3], [1]]) {
        const found = [];
        for (let power = Math.floor(low); power <= high; power += 1) {
          for (const step of steps) {
            const place = power + Math.log10(step);
            if (place >= low && place <= high) found.push(step * 10 ** power);
          }
        }
        if (found.length <= many || steps.length === 1) return found;
      }
    }
    const rough = (high - low) / many, base = 10 ** Math.floor(Math.log10(rough || 1));
    const step = [1, 2, 5, 10].map((factor) => factor * base).find((found) => found >= rough);
    const found = [];
    for (let value = Math.ceil(low / step) * step; value <= high; value += step) found.push(Number(value.toPrecision(12)));
    return found;
  }
  const tick = (value) => value.toLocaleString("en", { maximumSignificantDigits: 4 });

  function mark(kind, x, y, r) {
    const at = (points) => `M${points.map(([a, b]) => `${(x + a * r).toFixed(2)} ${(y + b * r).toFixed(2)}`).join("L")}Z`;
    switch (kind) {
      case "s": return at([[-0.85, -0.85], [0.85, -0.85], [0.85, 0.85], [-0.85, 0.85]]);
      case "D": return at([[0, -1.2], [1.2, 0], [0, 1.2], [-1.2, 0]]);
      case "^": return at([[0, -1.1], [1.1, 0.9], [-1.1, 0.9]]);
      case "v": return at([[0, 1.1], [1.1, -0.9], [-1.1, -0.9]]);
      case "p": return at([0, 1, 2, 3, 4].map((n) => [Math.sin(n * 1.2566) * 1.1, -Math.cos(n * 1.2566) * 1.1]));
      case "P": return at([[-0.4, -1.1], [0.4, -1.1], [0.4, -0.4], [1.1, -0.4], [1.1, 0.4], [0.4, 0.4], [0.4, 1.1], [-0.4, 1.1], [-0.4, 0.4], [-1.1, 0.4], [-1.1, -0.4], [-0.4, -0.4]]);
      case "X": return at([[-1.1, -0.6], [-0.6, -1.1], [0, -0.5], [0.6, -1.1], [1.1, -0.6], [0.5, 0], [1.1, 0.6], [0.6, 1.1], [0, 0.5], [-0.6, 1.1], [-1.1, 0.6], [-0.5, 0]]);
      default: return `M${x - r} ${y}a${r} ${r} 0 1 0 ${2 * r} 0a${r} ${r} 0 1 0 ${-2 * r} 0Z`;
    }
  }

  // --- Dots: every cell by the chosen measure

  function drawDots() {
    const measure = view.measures[state.measure], width = Math.max(300, dots.clientWidth);
    const cells = view.cells.filter((cell) => allowed(cell.d, cell.c));
    const places = [...new Set(cells.map((cell) => cell.c))], devices = [...state.devices].sort((a, b) => a - b);
    const value = (cell) => cell.v[state.measure];
    const runsOf = (cell) => (measure.runs ? cell.r.map((place) => [place, view.runs[place].v[state.measure]]).filter(([place, v]) => v !== null && view.runs[place].s === "ok") : []);
    const ends = known(cells.flatMap((cell) => [...value(cell), ...runsOf(cell).map(([, v]) => v)]));
    dots.replaceChildren();
    if (!ends.length) {
      dots.append(make("p", { class: "nothing" }, cells.length ? `No ${measure.label.toLowerCase()} is known here.` : "Nothing fits these filters."));
      return;
    }
    const narrow = width < 620, dense = places.length * devices.length > 160;
    const lane = devices.length > 5 ? 14 : 17, lanes = dense ? 1 : devices.length;
    const name = narrow ? 18 : 0, row = name + lanes * (dense ? 17 : lane) + (dense ? 3 : 12);
    const longest = Math.max(...places.map((place) => view.configurations[place].name.length));
    const left = narrow ? 8 : Math.min(width * 0.42, longest * 7 + 14), right = width - (dense ? 14 : 74), top = 42;
    const x = scale(ends, left + 4, right, measure.unit === "%"), height = top + places.length * row + 34;
    const svg = draw("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "group", "aria-label": `${measure.label} of ${count(cells.length, "cell")}. Arrow keys go from dot to dot, Enter shows its runs alone.` });
    places.forEach((place, order) => {
      if (order % 2 === 0) svg.append(draw("rect", { x: 0, y: top + order * row, width, height: row, class: "band" }));
    });
    for (const at of x.ticks(Math.max(3, Math.floor((right - left) / 60)))) {
      svg.append(
        draw("line", { x1: x.at(at), x2: x.at(at), y1: top - 6, y2: height - 30, class: "grid" }),
        draw("text", { x: x.at(at), y: top - 12, class: "tick" }, tick(at)),
        ...(places.length > 12 ? [draw("text", { x: x.at(at), y: height - 16, class: "tick" }, tick(at))] : []));
    }
    // Energies of a GPU and of a whole machine stand side by side, and must not be read as if they were the same.
    const parts = new Set(cells.filter((cell) => value(cell)[0] !== null).map((cell) => cell.about));
    const better = measure.energy && parts.size > 1 ? "not of the same part of each machine" : `${measure.less ? "less" : "more"} is better`;
    svg.append(draw("text", { x: narrow ? 8 : left + 4, y: 10, class: "axis" }, `${measure.label},${unit(measure)}${x.logarithmic ? " (logarithmic)" : ""}, ${better}`));
    places.forEach((place, order) => {
      const y = top + order * row;
      svg.append(draw("text", narrow ? { x: 8, y: y + 15, class: "name" } : { x: left - 8, y: y + row / 2, class: "name end" }, view.configurations[place].name));
    });
    const points = [];
    for (const cell of cells) {
      const y = top + places.indexOf(cell.c) * row + name + (dense ? 10 : 6 + (devices.indexOf(cell.d) + 0.5) * lane);
      const [middle, low, high] = value(cell), device = view.devices[cell.d];
      const about = `${device.name}, ${view.configurations[cell.c].name}`;
      if (middle === null) {
        if (!dense) svg.append(draw("text", { x: left + 6, y, class: "failed" }, draw("tspan", { fill: colour(cell.d) }, "✕ "), cell.note || "not known"));
        continue;
      }
      const one = draw("g", { class: "dot", tabindex: -1, role: "img", style: `--colour:${colour(cell.d)}` });
      const interval = low !== null && high !== null ? ` (95 % interval ${number(low)} to ${number(high)})` : "";
      const runs = cell.r.map((place) => rowOf.get(place).dataset.name).join(", ");
      const words = [about, `${number(middle)}${unit(measure)}${interval}`, measure.energy ? cell.about : "", `${cell.r.length === 1 ? "run" : "runs"} ${runs}`, cell.note].filter(Boolean);
      one.setAttribute("aria-label", words.join("; "));
      const own = runsOf(cell).map(([, v]) => v), most = Math.max(middle, high ?? middle, ...own);
      for (const v of own) one.append(draw("circle", { cx: x.at(v), cy: y, r: 2.2, class: "run" }));
      if (interval) one.append(draw("line", { x1: x.at(low), x2: x.at(high), y1: y, y2: y, class: "interval" }));
      one.append(draw("path", { d: mark(device.mark, x.at(middle), y, 5), class: "middle" }));
      if (!dense) one.append(draw("text", { x: x.at(most) + 10, y, class: "value" }, number(middle)));
      one.append(draw("rect", { x: x.at(middle) - 12, y: y - 9, width: 24, height: 18, fill: "transparent" }));
      const pick = () => { state.picked = new Set(cell.r); state.dot = one; refresh(about); };
      const show = () => showTip(words, x.at(middle), y, dots);
      one.addEventListener("pointerenter", show);
      one.addEventListener("pointerleave", hideTip);
      one.addEventListener("focus", show);
      one.addEventListener("blur", hideTip);
      one.addEventListener("click", pick);
      one.addEventListener("keydown", (event) => {
        if (event.key === "Enter" || event.key === " ") { event.preventDefault(); pick(); }
      });
      svg.append(one);
      points.push(one);
    }
    if (points.length) points[0].setAttribute("tabindex", 0);
    svg.addEventListener("keydown", (event) => {
      const now = points.indexOf(document.activeElement);
      const step = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1, Home: -now, End: points.length - 1 - now }[event.key];
      if (event.key === "Escape") hideTip();
      if (now < 0 || step === undefined) return;
      event.preventDefault();
      const next = points[Math.min(points.length - 1, Math.max(0, now + step))];
      points[now].setAttribute("tabindex", -1);
      next.setAttribute("tabindex", 0);
      next.focus();
    });
    dots.append(svg);
  }

  function showTip(words, x, y, within) {
    within.append(tip);
    tip.replaceChildren(...words.map((text, place) => make(place === 1 ? "strong" : "span", {}, text)));
    tip.hidden = false;
    const half = tip.offsetWidth / 2, most = within.clientWidth - half - 4;
    tip.style.left = `${Math.max(half + 4, Math.min(most, x - within.scrollLeft)) + within.scrollLeft}px`;
    const below = y + 14 + tip.offsetHeight < within.scrollTop + within.clientHeight;
    tip.style.top = `${below ? y + 14 : Math.max(0, y - 14 - tip.offsetHeight)}px`;
  }
  function hideTip() { tip.hidden = true; }

  // --- Parallel coordinates: every run as a line through its settings to its results

  const axes = [
    ...(view.devices.length > 1 ? [{ label: "Device", values: view.devices.map((device) => device.name), of: (run) => run.d }] : []),
    ...view.axes.map((axis, place) => ({ ...axis, of: (run) => view.configurations[run.c].at[place] })),
    ...view.measures.flatMap((measure, place) => (measure.runs && view.runs.some((run) => run.v[place] !== null) ? [{ label: measure.label, unit: unit(measure).trim(), measure: place, of: (run) => run.v[place] }] : [])),
  ];
  const tall = 340, head = 54, foot = 46;
  function drawLines() {
    const width = Math.max(lines.clientWidth, axes.length * 118), margin = 66;
    const gap = (width - 2 * margin) / Math.max(1, axes.length - 1), height = head + tall + foot;
    const svg = draw("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": `Parallel coordinates: each of ${count(view.runs.length, "run")} is a line through its settings to its results. The table of all runs holds the same values; the ranges above it filter like dragging here.` });
    const placed = axes.map((axis, order) => {
      const at = margin + order * gap;
      if (axis.values) return { ...axis, at, y: (value) => head + ((value + 0.5) / axis.values.length) * tall };
      const values = known(view.runs.map(axis.of));
      const found = scale(values, head + tall, head, axis.unit === "%");
      return { ...axis, at, y: (value) => (value === null ? head + tall + 22 : found.at(value)), scale: found };
    });
    // Lines that share a value are spread a little, so that each can be seen.
    const spread = (axis, place) => (axis.values ? (((place * 0.618034) % 1) - 0.5) * Math.min(18, (tall / axis.values.length) * 0.5) : 0);
    const bundles = { false: draw("g", { class: "faded" }), true: draw("g") };
    const paths = view.runs.map((run, place) => {
      const points = placed.map((axis) => [axis.at, axis.y(axis.of(run)) + spread(axis, place)]);
      const path = points.map(([x, y], n) => {
        if (n === 0) return `M${x.toFixed(1)} ${y.toFixed(1)}`;
        const [px, py] = points[n - 1], middle = ((px + x) / 2).toFixed(1);
        return `C${middle} ${py.toFixed(1)} ${middle} ${y.toFixed(1)} ${x.toFixed(1)} ${y.toFixed(1)}`;
      }).join("");
      const one = draw("path", { d: path, class: run.s === "ok" ? "line" : "line bad", style: `stroke:${colour(run.d)}` });
      bundles[shown(place)].append(one);
      return { one, points, place };
    });
    svg.append(bundles.false, bundles.true);
    for (const axis of placed) {
      const label = draw("text", { x: axis.at, y: 16, class: "title" }, axis.label);
      svg.append(label, draw("line", { x1: axis.at, x2: axis.at, y1: head - 6, y2: head + tall + 6, class: "stem" }));
      if (axis.unit) svg.append(draw("text", { x: axis.at, y: 32, class: "tick" }, axis.unit));
      const marks = axis.values ? axis.values.map((text, value) => [value, text]) : axis.scale.ticks(6).map((value) => [value, tick(value)]);
      for (const [value, text] of marks) svg.append(draw("text", { x: axis.at + 8, y: axis.y(value), class: "mark" }, text.length > 22 ? `${text.slice(0, 21)}…` : text));
      if (!axis.values && view.runs.some((run) => axis.of(run) === null)) svg.append(draw("text", { x: axis.at + 8, y: head + tall + 22, class: "mark" }, "none"));
      if (axis.measure !== undefined) svg.append(brush(axis));
    }
    svg.addEventListener("pointermove", (event) => {
      const box = svg.getBoundingClientRect(), px = ((event.clientX - box.left) * width) / box.width, py = ((event.clientY - box.top) * height) / box.height;
      let best = null, distance = 12;
      for (const path of paths) {
        if (path.one.parentNode !== bundles.true) continue;
        const n = Math.max(0, Math.min(path.points.length - 2, Math.floor((px - margin) / gap)));
        const [ax, ay] = path.points[n], [bx, by] = path.points[Math.min(n + 1, path.points.length - 1)];
        const t = Math.max(0, Math.min(1, (px - ax) / (bx - ax || 1))), eased = t * t * (3 - 2 * t);
        const away = Math.abs(ay + (by - ay) * eased - py);
        if (away < distance) { distance = away; best = path; }
      }
      svg.querySelectorAll(".line.on").forEach((line) => line.classList.remove("on"));
      if (!best) return hideTip();
      best.one.classList.add("on");
      const run = view.runs[best.place];
      showTip([`Run ${rowOf.get(best.place).dataset.name}: ${view.devices[run.d].name}`, view.configurations[run.c].name,
        ...placed.filter((axis) => axis.measure !== undefined).map((axis) => `${axis.label}: ${axis.of(run) === null ? "none" : `${number(axis.of(run))}${unit(view.measures[axis.measure])}`}`),
        ...(run.s === "ok" ? [] : [run.s])], px, Math.min(py, head + tall - 70), lines);
    });
    svg.addEventListener("pointerleave", () => {
      svg.querySelectorAll(".line.on").forEach((line) => line.classList.remove("on"));
      hideTip();
    });
    const scrolled = lines.scrollLeft;
    lines.replaceChildren(svg);
    lines.scrollLeft = scrolled;
  }

  // Dragging along an axis keeps the runs between; a click on it lets all in again.
  function brush(axis) {
    const box = draw("rect", { x: axis.at - 14, y: head - 6, width: 28, height: tall + 12, class: "handle" });
    const area = draw("rect", { x: axis.at - 7, width: 14, class: "brush", y: 0, height: 0 });
    const range = state.ranges.get(axis.measure);
    if (range) {
      const [a, b] = [range[1] === null ? head : axis.y(range[1]), range[0] === null ? head + tall : axis.y(range[0])];
      area.setAttribute("y", a);
      area.setAttribute("height", Math.max(2, b - a));
    }
    let start = null;
    const here = (event) => {
      const svg = box.ownerSVGElement, frame = svg.getBoundingClientRect();
      return Math.max(head, Math.min(head + tall, ((event.clientY - frame.top) * svg.viewBox.baseVal.height) / frame.height));
    };
    box.addEventListener("pointerdown", (event) => { start = here(event); box.setPointerCapture(event.pointerId); });
    box.addEventListener("pointermove", (event) => {
      if (start === null) return;
      area.setAttribute("y", Math.min(start, here(event)));
      area.setAttribute("height", Math.abs(here(event) - start));
    });
    box.addEventListener("pointerup", (event) => {
      if (start === null) return;
      const ends = [start, here(event)].sort((a, b) => b - a);
      start = null;
      if (ends[0] - ends[1] < 4) state.ranges.delete(axis.measure);
      else state.ranges.set(axis.measure, ends.map((place) => Number(axis.scale.back(place).toPrecision(4))));
      refresh();
    });
    return draw("g", {}, area, box);
  }

  // --- Everything follows the state

  function refresh(picked = "") {
    if (!picked) state.picked = null;
    let visible = 0;
    for (const [place, row] of rowOf) {
      row.hidden = !shown(place);
      visible += !row.hidden;
    }
    ranges.forEach((range, place) => range?.ends.forEach((input, end) => {
      const value = state.ranges.get(place)?.[end] ?? "";
      if (document.activeElement !== input) input.value = value;
    }));
    said.textContent = `${visible === view.runs.length ? `All ${count(visible, "run")}` : `${visible.toLocaleString("en")} of ${count(view.runs.length, "run")}`} shown${picked ? `: ${picked}` : ""}.`;
    reset.disabled = visible === view.runs.length && state.devices.size === view.devices.length && !state.ranges.size && !state.words &&
      view.axes.every((axis, place) => state.values[place].size === axis.values.length);
    hideTip();
    if (!picked) drawDots();
    dots.querySelectorAll(".dot").forEach((dot) => dot.classList.toggle("dim", state.picked !== null && dot !== state.dot));
    drawLines();
  }

  explorer.hidden = false;
  let width = 0;
  new ResizeObserver(() => {
    if (dots.clientWidth === width) return;
    width = dots.clientWidth;
    drawDots();
    drawLines();
  }).observe(dots);
  refresh();
}
