// --- Parallel coordinates: every run as a line through its settings to its results ------------------------------------

const tall = 340, head = 54, foot = 46;
function drawLines(x) {
  const { view, state, lines, color, unit, shown } = x;
  const axes = [
    ...(view.devices.length > 1 ? [{ label: "Device", values: view.devices.map((device) => device.name), of: (run) => run.d }] : []),
    ...view.axes.map((axis, place) => ({ ...axis, of: (run) => view.configurations[run.c].at[place] })),
    ...view.measures.flatMap((measure, place) => (measure.runs && view.runs.some((run) => run.v[place] !== null) ? [{ label: measure.label, unit: unit(measure).trim(), measure: place, of: (run) => run.v[place] }] : [])),
  ];
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
    const one = draw("path", { d: path, class: run.s === "ok" ? "line" : "line bad", style: `stroke:${color(run.d)}` });
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
    if (axis.measure !== undefined) svg.append(brush(x, axis));
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
    if (!best) return hideTip(x);
    best.one.classList.add("on");
    const run = view.runs[best.place];
    showTip(x, [`Run ${x.nameOf(best.place)}: ${view.devices[run.d].name}`, view.configurations[run.c].name,
      ...placed.filter((axis) => axis.measure !== undefined).map((axis) => `${axis.label}: ${axis.of(run) === null ? "none" : `${number(axis.of(run))}${unit(view.measures[axis.measure])}`}`),
      ...(run.s === "ok" ? [] : [run.s])], px, Math.min(py, head + tall - 70), lines);
  });
  svg.addEventListener("pointerleave", () => {
    svg.querySelectorAll(".line.on").forEach((line) => line.classList.remove("on"));
    hideTip(x);
  });
  const scrolled = lines.scrollLeft;
  lines.replaceChildren(svg);
  lines.scrollLeft = scrolled;
}

// Dragging along an axis keeps the runs between; a click on it lets all in again.
function brush(x, axis) {
  const { state, refresh } = x;
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

