// --- Dots: every result by the chosen measure ------------------------------------------------------------------------

function drawDots(x) {
  const { view, state, dots, color, unit, allowed, refresh } = x;
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
  const scaled = scale(ends, left + 4, right, measure.unit === "%"), height = top + places.length * row + 34;
  const svg = draw("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "group", "aria-label": `${measure.label} of ${count(cells.length, "result")}. Arrow keys go from dot to dot, Enter shows its runs alone.` });
  places.forEach((place, order) => {
    if (order % 2 === 0) svg.append(draw("rect", { x: 0, y: top + order * row, width, height: row, class: "band" }));
  });
  for (const at of scaled.ticks(Math.max(3, Math.floor((right - left) / 60)))) {
    svg.append(
      draw("line", { x1: scaled.at(at), x2: scaled.at(at), y1: top - 6, y2: height - 30, class: "grid" }),
      draw("text", { x: scaled.at(at), y: top - 12, class: "tick" }, tick(at)),
      ...(places.length > 12 ? [draw("text", { x: scaled.at(at), y: height - 16, class: "tick" }, tick(at))] : []));
  }
  // Energies of a GPU and of a whole machine stand side by side, and must not be read as if they were the same.
  const parts = new Set(cells.filter((cell) => value(cell)[0] !== null).map((cell) => cell.about));
  const better = measure.energy && parts.size > 1 ? "not of the same part of each machine" : `${measure.less ? "less" : "more"} is better`;
  svg.append(draw("text", { x: narrow ? 8 : left + 4, y: 10, class: "axis" }, `${measure.label}, ${measure.unit}${scaled.logarithmic ? " (logarithmic)" : ""}, ${better}`));
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
      if (!dense) svg.append(draw("text", { x: left + 6, y, class: "failed" }, draw("tspan", { fill: color(cell.d) }, "✕ "), cell.note || "not known"));
      continue;
    }
    const one = draw("g", { class: "dot", tabindex: -1, role: "img", style: `--color:${color(cell.d)}` });
    const interval = low !== null && high !== null ? ` (${measure.interval} ${number(low)} to ${number(high)})` : "";
    const runs = cell.r.map((place) => x.nameOf(place)).join(", ");
    const words = [about, `${number(middle)}${unit(measure)}${interval}`, measure.energy ? cell.about : "", `${cell.r.length === 1 ? "run" : "runs"} ${runs}`, cell.note].filter(Boolean);
    one.setAttribute("aria-label", words.join("; "));
    const own = runsOf(cell).map(([, v]) => v), most = Math.max(middle, high ?? middle, ...own);
    for (const v of own) one.append(draw("circle", { cx: scaled.at(v), cy: y, r: 2.2, class: "run" }));
    if (interval) one.append(draw("line", { x1: scaled.at(low), x2: scaled.at(high), y1: y, y2: y, class: "interval" }));
    one.append(draw("path", { d: mark(device.mark, scaled.at(middle), y, 5), class: "middle" }));
    if (!dense) one.append(draw("text", { x: scaled.at(most) + 10, y, class: "value" }, number(middle)));
    one.append(draw("rect", { x: scaled.at(middle) - 12, y: y - 9, width: 24, height: 18, fill: "transparent" }));
    const pick = () => { state.picked = new Set(cell.r); state.dot = one; refresh(about); };
    const show = () => showTip(x, words, scaled.at(middle), y, dots);
    one.addEventListener("pointerenter", show);
    one.addEventListener("pointerleave", () => hideTip(x));
    one.addEventListener("focus", show);
    one.addEventListener("blur", () => hideTip(x));
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
    if (event.key === "Escape") hideTip(x);
    if (now < 0 || step === undefined) return;
    event.preventDefault();
    const next = points[Math.min(points.length - 1, Math.max(0, now + step))];
    points[now].setAttribute("tabindex", -1);
    next.setAttribute("tabindex", 0);
    next.focus();
  });
  dots.append(svg);
}

function showTip(x, words, left, top, within) {
  const { tip } = x;
  within.append(tip);
  tip.replaceChildren(...words.map((text, place) => make(place === 1 ? "strong" : "span", {}, text)));
  tip.hidden = false;
  const half = tip.offsetWidth / 2, most = within.clientWidth - half - 4;
  tip.style.left = `${Math.max(half + 4, Math.min(most, left - within.scrollLeft)) + within.scrollLeft}px`;
  const below = top + 14 + tip.offsetHeight < within.scrollTop + within.clientHeight;
  tip.style.top = `${below ? top + 14 : Math.max(0, top - 14 - tip.offsetHeight)}px`;
}
function hideTip(x) { x.tip.hidden = true; }
