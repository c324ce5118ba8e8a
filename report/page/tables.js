// --- Tables: sorted by a click on a heading, and shown a page at a time -----------------------------------------------

const PAGE_ROWS = 10;

// Shows some rows of a table's body. `rows` are elements, or a count and a function that makes one.
function pager(table, rows) {
  const body = table.tBodies[0], state = { rows, keep: () => true, page: 0, order: null };
  const status = make("span", { role: "status" }), bar = make("p", { class: "pager" });
  const step = (by) => () => { state.page += by; show(); };
  const back = button("Previous", step(-1)), next = button("Next", step(1));
  const all = button("Show all", () => { state.open = !state.open; state.page = 0; show(); });
  bar.append(back, next, status, all);
  table.closest(".scroll").after(bar);

  function show() {
    const kept = state.rows.filter((row, place) => state.keep(row, place));
    const pages = state.open ? 1 : Math.max(1, Math.ceil(kept.length / PAGE_ROWS));
    state.page = Math.max(0, Math.min(state.page, pages - 1));
    const first = state.page * PAGE_ROWS, shown = state.open ? kept : kept.slice(first, first + PAGE_ROWS);
    body.replaceChildren(...shown.map((row) => (typeof row === "function" ? row() : row)));
    bar.hidden = kept.length <= PAGE_ROWS;
    back.disabled = state.page === 0;
    next.disabled = state.page === pages - 1;
    status.textContent = `${(first + 1).toLocaleString("en")} to ${(first + shown.length).toLocaleString("en")} of ${kept.length.toLocaleString("en")}`;
    all.textContent = state.open ? "Show pages" : "Show all";
  }
  const handle = { show, state, sort: (compare) => { state.rows.sort(compare); state.page = 0; show(); } };
  show();
  return handle;
}

const cellValue = (row, column) => {
  const cell = row.cells[column], text = (cell.dataset.value ?? cell.textContent).trim();
  const found = parseFloat(text.replaceAll(",", ""));
  return /^-?[\d.,]+/.test(text) && !Number.isNaN(found) ? found : text;
};
// What is unknown stands last, whichever way the rest goes.
const compareValues = (a, b, up) => {
  if (a === "" || b === "") return (a === "") - (b === "");
  if (typeof a !== typeof b) return typeof a === "number" ? -1 : 1;
  const sign = typeof a === "number" ? a - b : a.localeCompare(b, "en", { numeric: true });
  return up ? sign : -sign;
};

// A table whose rows stand in the page, or are made from `rows` (elements, each with its cells).
function sortable(table) {
  const rows = [...table.tBodies[0].rows];
  const handle = table.classList.contains("paged") ? pager(table, rows) : null;
  const headings = [...table.tHead.rows[0].cells];
  headings.forEach((heading, column) => {
    if (!heading.textContent.trim()) return;
    const sort = make("button", { type: "button" }, ...heading.childNodes);
    heading.append(sort);
    sort.addEventListener("click", () => {
      const up = heading.getAttribute("aria-sort") !== "ascending";
      headings.forEach((other) => other.removeAttribute("aria-sort"));
      heading.setAttribute("aria-sort", up ? "ascending" : "descending");
      const all = handle ? handle.state.rows : rows;
      const keys = new Map(all.map((row) => [row, cellValue(row, column)]));
      all.sort((a, b) => compareValues(keys.get(a), keys.get(b), up));
      if (handle) { handle.state.page = 0; handle.show(); } else table.tBodies[0].append(...all);
    });
  });
  return handle;
}

// Rows of all runs, made from the carried table where the page holds only some of them.
function allRuns(view) {
  const table = document.getElementById("all-runs"), body = table.tBodies[0];
  const total = carried.tables.runs.rows;
  if (body.rows.length === total) return;
  const column = Object.fromEntries(Object.keys(carried.tables.runs.columns).map((name) => [name, columnOf("runs", name)]));
  const has = (heading) => [...table.tHead.rows[0].cells].some((cell) => cell.textContent === heading);
  const withEnergy = has("J per image"), withMemory = has("Peak memory"), gibibytes = (bytes) => `${number(bytes / 2 ** 30)} GiB`;
  const memory = (bytes, own) => `${gibibytes(bytes)}${own === null ? "" : ` + ${gibibytes(own)} on the device`}`;
  const valued = (value, text, kind = "number") => {
    const cell = make("td", { class: kind, "data-value": value ?? "" });
    cell.textContent = value === null || value === undefined ? "" : text(value);
    return cell;
  };
  const rows = Array.from({ length: total }, (_, place) => {
    const device = view.devices[view.runs.d[place]], at = (name) => column[name]?.[place] ?? null;
    const status = make("td", {}, make("span", { class: at("status") === "ok" ? "good" : "bad" }, view.statuses[view.runs.s[place]]));
    for (const flag of view.flags[view.runs.f[place]]) status.append(" ", make("span", { class: "flag" }, flag));
    const dot = make("span", { class: "swatch", style: `--color:var(--device-${device.color})`, "aria-hidden": "true" });
    return make("tr", { "data-run": place },
      valued(at("sequence"), () => String(view.runs.name?.[place] ?? at("sequence"))), make("td", { class: "nowrap" }, dot, device.name),
      make("th", { scope: "row", class: "nowrap" }, view.configurations[view.runs.c[place]].name),
      valued(at("replicate"), String), status, valued(at("images_per_second"), number),
      valued(at("ci_low") === null ? null : at("ci_low"), (low) => `${number(low)} to ${number(at("ci_high"))}`, "nowrap"),
      ...(withEnergy ? [valued(at("joules_per_image"), number)] : []),
      valued(at("final_val_accuracy"), (share) => `${number(100 * share, share < 0.995 ? 2 : 3)}%`), valued(at("first_step_seconds"), duration),
      ...(withMemory ? [valued(at("peak_memory_bytes"), (bytes) => memory(bytes, at("peak_device_memory_bytes")), "nowrap")] : []));
  });
  body.replaceChildren(...rows);
  document.querySelectorAll("#runs .excerpt").forEach((note) => { note.hidden = true; });
}

// Rows of all results by configuration, likewise.
function allRates(view) {
  const table = document.getElementById("rates"), body = table.tBodies[0];
  if (body.rows.length === view.configurations.length) return;
  const speeds = columnOf("rates", "images_per_second"), lows = columnOf("rates", "ci_low"), highs = columnOf("rates", "ci_high");
  const logs = speeds.filter((value) => value !== null).map(Math.log), least = Math.min(...logs), most = Math.max(...logs);
  const rows = view.configurations.map((one) => make("tr", {}, make("th", { scope: "row", class: "nowrap" }, one.name), ...view.devices.map(() => make("td", { class: "number" }, "not run"))));
  view.results.row.forEach((row, place) => {
    const cell = rows[view.results.c[place]].cells[view.results.d[place] + 1], speed = speeds[row], note = view.notes[view.results.note[place]];
    if (speed === null) {
      cell.replaceChildren(make("span", { class: "bad" }, note));
      return;
    }
    const heat = most > least ? Math.min(4, Math.floor((5 * (Math.log(speed) - least)) / (most - least))) : 0;
    cell.className = `number h${heat}`;
    cell.dataset.value = speed;
    const interval = lows[row] === null ? "no interval" : `${number(lows[row])} to ${number(highs[row])}`;
    cell.replaceChildren(number(speed), make("br"), make("span", { class: "quiet" }, interval));
    for (const text of note.split("; ").filter(Boolean)) cell.append(make("br"), make("span", { class: "flag" }, text));
  });
  body.replaceChildren(...rows);
  document.querySelectorAll("#numbers .excerpt").forEach((note) => { note.hidden = true; });
}
