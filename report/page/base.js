// The page without this script is complete in words and figures. With it, tables can be sorted, paged and saved, and runs
// filtered and drawn. Nothing is loaded, and all text that comes from the data is set as text, never as markup.
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
const number = (value, most = 3) => {
  if (value === 0) return "0";
  const rounded = Number(value.toPrecision(most)), digits = Math.max(0, Math.min(12, most - 1 - Math.floor(Math.log10(Math.abs(rounded)))));
  return rounded.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits });
};
const count = (many, noun) => `${many.toLocaleString("en")} ${noun}${many === 1 ? "" : "s"}`;
const duration = (value) => {
  if (value < 10) return `${value.toFixed(1)} s`;
  if (value < 120) return `${value.toFixed(0)} s`;
  const minutes = Math.floor(Math.round(value) / 60);
  return minutes < 60 ? `${minutes} min ${Math.round(value) % 60} s` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
};

// --- The tables, carried once as columns -----------------------------------------------------------------------------

const carried = JSON.parse(document.getElementById("trainoff-data").textContent);
const columnOf = (table, name) => {
  const { rows, columns } = carried.tables[table] ?? { rows: 0, columns: {} }, column = columns[name];
  if (column === undefined) return null;
  if (Array.isArray(column)) return column;
  return "all" in column ? Array(rows).fill(column.all) : column.at.map((place) => column.of[place]);
};

function csvOf(name) {
  const { rows, columns } = carried.tables[name], names = Object.keys(columns);
  const values = names.map((column) => columnOf(name, column));
  const field = (value) => {
    if (value === null || value === undefined) return "";
    if (typeof value === "boolean") return value ? "True" : "False";
    // A spreadsheet must not take words for a formula.
    const text = typeof value === "string" && /^[=+\-@\uff1d\uff0b\uff0d\uff20]/.test(value) ? `'${value}` : String(value);
    return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  const lines = [names.map(field).join(",")];
  for (let row = 0; row < rows; row += 1) lines.push(values.map((column) => field(column[row])).join(","));
  return `${lines.join("\n")}\n`;
}

function save(name, blob) {
  const link = make("a", { download: name, href: URL.createObjectURL(blob) });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
const saveTable = (name) => save(`${name}.csv`, new Blob([csvOf(name)], { type: "text/csv" }));
const button = (text, act) => {
  const element = make("button", { type: "button" }, text);
  element.addEventListener("click", act);
  return element;
};
