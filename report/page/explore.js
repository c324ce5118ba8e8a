// --- The explorer: filters, what they leave, and their place in the address ------------------------------------------

// Results and runs as objects, made from the carried tables.
function expanded(view) {
  const column = (table, name) => columnOf(table, name) ?? [];
  const sums = view.measures.map((measure) => {
    if (!measure.runs) return null;
    const parts = measure.runs.map((name) => column("runs", name));
    return (place) => {
      const values = parts.map((part) => part[place] ?? null);
      return values.includes(null) ? null : values.reduce((sum, value) => sum + value, 0) * measure.factor;
    };
  });
  const runs = view.runs.d.map((d, place) => ({
    d, c: view.runs.c[place], s: view.statuses[view.runs.s[place]], v: sums.map((sum) => (sum ? sum(place) : null)),
  }));
  const own = new Map();
  runs.forEach((run, place) => {
    const at = `${run.d} ${run.c}`;
    own.has(at) ? own.get(at).push(place) : own.set(at, [place]);
  });
  const middle = (values) => {
    if (!values.length) return null;
    const sorted = [...values].sort((a, b) => a - b), half = sorted.length >> 1;
    return sorted.length % 2 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
  };
  const ofResult = view.measures.map((measure) => measure.results?.names.map((name) => (name ? column(measure.results.table, name) : [])));
  const cells = view.results.d.map((d, place) => {
    const c = view.results.c[place], r = own.get(`${d} ${c}`), row = view.results.row[place];
    const v = view.measures.map((measure, at) => {
      const told = ofResult[at]?.map((values) => (values[row] ?? null) === null ? null : values[row] * measure.factor);
      if (told && told[0] !== null) return told;
      return [middle(known(r.filter((run) => runs[run].s === "ok").map((run) => runs[run].v[at]))), null, null];
    });
    return { d, c, r, v, note: view.notes[view.results.note[place]], about: view.abouts[view.results.about[place]] };
  });
  return { ...view, runs, cells };
}

function explore(compact, table) {
  const explorer = document.getElementById("explorer"), view = expanded(compact);
  // Where no run gave a number, there is nothing to explore.
  if (!explorer || !table || !view.measures.length) return;
  const rowOf = new Map(table.state.rows.map((row) => [Number(row.dataset.run), row]));
  const state = {
    measure: 0,
    devices: new Set(view.devices.keys()),
    values: view.axes.map((axis) => new Set(axis.values.keys())),
    ranges: new Map(), // measure → [minimum, maximum]
    words: "",
    picked: null, // runs of one dot, or null
    dot: null, // that dot
  };
  const dots = document.getElementById("explore-dots"), lines = document.getElementById("explore-lines");
  const said = document.getElementById("explore-status"), tip = document.getElementById("explore-tip");
  const parallel = document.getElementById("explore-parallel");
  const color = (device) => `var(--device-${view.devices[device].color})`;
  const unit = (measure) => (measure.unit === "%" ? "%" : ` ${measure.unit}`);
  const allowed = (device, configuration) =>
    state.devices.has(device) &&
    view.configurations[configuration].at.every((value, axis) => state.values[axis].has(value));
  const inRanges = (run) =>
    [...state.ranges].every(([measure, [minimum, maximum]]) => {
      const value = run.v[measure];
      return value !== null && (minimum === null || value >= minimum) && (maximum === null || value <= maximum);
    });
  const shown = (place) => {
    const run = view.runs[place];
    return (
      allowed(run.d, run.c) && inRanges(run) && (!state.picked || state.picked.has(place)) &&
      (!state.words || rowOf.get(place).textContent.toLowerCase().includes(state.words))
    );
  };
  const nameOf = (place) => rowOf.get(place).cells[0].textContent;
  const x = { view, state, dots, lines, tip, color, unit, allowed, shown, nameOf, refresh };

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
  function key(device) {
    const svg = draw("svg", { viewBox: "-7 -7 14 14", class: "key", "aria-hidden": "true" });
    svg.append(draw("path", { d: mark(view.devices[device].mark, 0, 0, 5), fill: color(device) }));
    return svg;
  }
  function buildControls() {
    controls.replaceChildren();
    const measures = view.measures.map((measure, place) =>
      choice("radio", "measure", place === state.measure, () => { state.measure = place; refresh(); }, measure.label));
    if (measures.length > 1) controls.append(group("Show", ...measures));
    if (view.devices.length > 1) {
      controls.append(group("Devices", ...view.devices.map((device, place) =>
        choice("checkbox", `device-${place}`, state.devices.has(place), toggle(state.devices, place), key(place), device.name))));
    }
    // An axis with very many values is filtered by words.
    view.axes.forEach((axis, place) => {
      if (axis.values.length > 24) return;
      controls.append(group(axis.label, ...axis.values.map((text, value) =>
        choice("checkbox", `axis-${place}-${value}`, state.values[place].has(value), toggle(state.values[place], value), text))));
    });
    controls.append(more);
  }
  const ranges = view.measures.map((measure, place) => {
    if (!measure.runs) return null;
    const ends = ["minimum", "maximum"].map((word, end) => {
      const input = make("input", { type: "number", step: "any", "aria-label": `${measure.label}, ${word}`, placeholder: word });
      input.addEventListener("input", () => {
        const range = state.ranges.get(place) ?? [null, null];
        range[end] = input.value === "" ? null : Number(input.value);
        range[0] === null && range[1] === null ? state.ranges.delete(place) : state.ranges.set(place, range);
        refresh();
      });
      return input;
    });
    return { ends, field: make("div", { class: "range" }, make("span", {}, `${measure.label}, ${measure.unit}`), ...ends) };
  });
  const search = make("input", { type: "search", "aria-label": "Find in the runs", placeholder: "Find in the runs" });
  search.addEventListener("input", () => { state.words = search.value.trim().toLowerCase(); refresh(); });
  const more = make("details", { class: "more" }, make("summary", {}, "Ranges and words"));
  more.append(make("div", { class: "ranges" }, ...ranges.filter(Boolean).map((range) => range.field), search));
  const reset = button("Show all", () => {
    restore(new URLSearchParams());
    buildControls();
    refresh();
  });
  said.after(reset);

  // --- The state in the address: what differs from showing everything

  const listed = (set) => [...set].sort((a, b) => a - b).join(".");
  const whole = (set, number) => set.size === number;
  function address() {
    const found = new URLSearchParams();
    if (state.measure) found.set("show", view.measures[state.measure].key);
    if (!whole(state.devices, view.devices.length)) found.set("devices", listed(state.devices));
    view.axes.forEach((axis, place) => {
      if (!whole(state.values[place], axis.values.length)) found.set(`axis${place}`, listed(state.values[place]));
    });
    for (const [place, range] of state.ranges) found.set(view.measures[place].key, range.map((end) => end ?? "").join("~"));
    if (state.words) found.set("words", state.words);
    return found.toString();
  }
  function restore(given) {
    const places = (text, number) => new Set(text === null ? Array(number).keys() : text.split(".").filter(Boolean).map(Number).filter((place) => place < number));
    state.measure = Math.max(0, view.measures.findIndex((measure) => measure.key === given.get("show")));
    state.devices = places(given.get("devices"), view.devices.length);
    state.values = view.axes.map((axis, place) => places(given.get(`axis${place}`), axis.values.length));
    state.ranges.clear();
    view.measures.forEach((measure, place) => {
      const ends = given.get(measure.key)?.split("~").map((end) => (end === "" || Number.isNaN(Number(end)) ? null : Number(end)));
      if (ends?.length === 2) state.ranges.set(place, ends);
    });
    state.words = search.value = given.get("words") ?? "";
    state.picked = null;
  }
  function keepAddress() {
    const text = address();
    if (!text && !location.hash.startsWith("#explore")) return;
    // A page inside another one may not have an address of its own.
    try { history.replaceState(null, "", text ? `#explore?${text}` : "#runs"); } catch { return; }
  }

  // --- Everything follows the state

  function refresh(picked = "") {
    if (!picked) state.picked = null;
    let visible = 0;
    for (const place of rowOf.keys()) visible += shown(place);
    table.state.keep = (row) => shown(Number(row.dataset.run));
    table.state.page = 0;
    table.show();
    ranges.forEach((range, place) => range?.ends.forEach((input, end) => {
      const value = state.ranges.get(place)?.[end] ?? "";
      if (document.activeElement !== input) input.value = value;
    }));
    said.textContent = `${visible === view.runs.length ? `All ${count(visible, "run")}` : `${visible.toLocaleString("en")} of ${count(view.runs.length, "run")}`} shown${picked ? `: ${picked}` : ""}.`;
    const filters = new URLSearchParams(address());
    filters.delete("show");
    reset.disabled = visible === view.runs.length && !filters.size;
    hideTip(x);
    if (!picked) drawDots(x);
    dots.querySelectorAll(".dot").forEach((dot) => dot.classList.toggle("dim", state.picked !== null && dot !== state.dot));
    if (parallel.open) drawLines(x);
    keepAddress();
  }

  explorer.hidden = false;
  parallel.addEventListener("toggle", () => { if (parallel.open) drawLines(x); });
  const given = location.hash.startsWith("#explore?") ? new URLSearchParams(location.hash.slice(9)) : null;
  if (given) restore(given);
  buildControls();
  let width = 0;
  new ResizeObserver(() => {
    if (dots.clientWidth === width) return;
    width = dots.clientWidth;
    drawDots(x);
    if (parallel.open) drawLines(x);
  }).observe(dots);
  refresh();
  if (given) explorer.scrollIntoView();
}
