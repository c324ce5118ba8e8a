// --- The page: where the reader is, what can be saved, and the order in which the parts begin -------------------------

// The section being read is marked in the contents.
function markContents() {
  const links = [...document.querySelectorAll("nav a")], sections = links.map((link) => document.querySelector(link.getAttribute("href")));
  const mark = () => {
    const line = innerHeight / 3;
    let here = 0;
    sections.forEach((section, place) => { if (section.getBoundingClientRect().top <= line) here = place; });
    links.forEach((link, place) => (place === here ? link.setAttribute("aria-current", "true") : link.removeAttribute("aria-current")));
  };
  addEventListener("scroll", mark, { passive: true });
  mark();
}

// A picture of the page as a file: with the styles that it has here.
function standalone(svg) {
  const copy = svg.cloneNode(true), box = svg.viewBox.baseVal;
  const source = [svg, ...svg.querySelectorAll("*")], target = [copy, ...copy.querySelectorAll("*")];
  const kept = ["fill", "stroke", "stroke-width", "stroke-dasharray", "opacity", "fill-opacity", "stroke-opacity", "font", "text-anchor"];
  target.forEach((element, place) => {
    const look = getComputedStyle(source[place]);
    element.setAttribute("style", kept.map((name) => `${name}:${look.getPropertyValue(name)}`).join(";"));
  });
  copy.querySelectorAll("style").forEach((style) => style.remove());
  copy.setAttribute("xmlns", "http://www.w3.org/2000/svg");
  copy.setAttribute("width", box.width * 1.5);
  copy.setAttribute("height", box.height * 1.5);
  const back = draw("rect", { x: box.x, y: box.y, width: box.width, height: box.height });
  back.setAttribute("style", `fill:${getComputedStyle(document.body).backgroundColor}`);
  copy.prepend(back);
  return new XMLSerializer().serializeToString(copy);
}
function savePng(name, svg) {
  const picture = new Image(), box = svg.viewBox.baseVal, scale = 3;
  picture.addEventListener("load", () => {
    const canvas = make("canvas", { width: Math.round(box.width * scale), height: Math.round(box.height * scale) });
    canvas.getContext("2d").drawImage(picture, 0, 0, canvas.width, canvas.height);
    canvas.toBlob((blob) => save(`${name}.png`, blob));
  });
  picture.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(standalone(svg))}`;
}
function offerFiles() {
  for (const place of document.querySelectorAll(".files[data-figure]")) {
    const name = place.dataset.figure, svg = place.closest("figure").querySelector(".picture svg");
    place.append(" Save: ", button("SVG", () => save(`${name}.svg`, new Blob([standalone(svg)], { type: "image/svg+xml" }))),
      " ", button("PNG", () => savePng(name, svg)));
    for (const table of place.dataset.tables.split(" ")) {
      if (table in carried.tables) place.append(" ", button(`${table}.csv`, () => saveTable(table)));
    }
  }
  const list = document.getElementById("table-files");
  for (const [name, table] of Object.entries(carried.tables)) {
    if (table.rows) list.append(button(`${name}.csv, ${count(table.rows, "row")}`, () => saveTable(name)), " ");
  }
  document.getElementById("files").hidden = false;
}

// A link into a folded part opens it.
function openTarget() {
  const target = location.hash.length > 1 && document.getElementById(decodeURIComponent(location.hash.slice(1)));
  for (let one = target; one; one = one.parentElement) if (one.tagName === "DETAILS") one.open = true;
  if (target) target.scrollIntoView();
}

const view = JSON.parse(document.getElementById("trainoff-view").textContent);
allRuns(view);
allRates(view);
const handles = new Map([...document.querySelectorAll("table.sortable")].map((table) => [table.id, sortable(table)]));
explore(view, handles.get("all-runs"));
training();
offerFiles();
markContents();
addEventListener("hashchange", openTarget);
if (!location.hash.startsWith("#explore")) openTarget();
