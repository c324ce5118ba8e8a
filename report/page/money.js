// --- Buy or rent: two sliders recompute what the page carries --------------------------------------------------------

function money() {
  const facts = carried.money, controls = document.getElementById("money-controls");
  if (!facts || !controls) return;
  const price = document.getElementById("money-price"), use = document.getElementById("money-use");
  const table = document.getElementById("money-table"), list = document.getElementById("money-break-even");
  const amount = (value) => (value === null ? "unknown" : `${number(value)} ${facts.currency}`);
  const perSecond = (row, share) => row.purchase / (row.lifetime_hours * share * 3600);
  const cost = (row, seconds, joules, factor, share) => {
    if (seconds === null) return null;
    if (row.way === "rented") return row.per_hour * factor * Math.max(seconds / 3600, row.minimum_hours);
    if (joules === null || facts.per_kwh === null) return null;
    return seconds * perSecond(row, share) + (joules / 3.6e6) * facts.per_kwh;
  };
  const update = () => {
    const factor = price ? 10 ** (Number(price.value) / 20) : 1, share = use ? Number(use.value) / 100 : 1;
    if (price) document.getElementById("money-price-text").textContent = `${number(100 * factor, 2)}%`;
    if (use) document.getElementById("money-use-text").textContent = `${use.value}%`;
    facts.rows.forEach((row, place) => {
      const cells = table.tBodies[0].rows[place].querySelectorAll("[data-cell]");
      cells[0].textContent = amount(cost(row, row.sweep_seconds, row.sweep_joules, factor, share));
      cells[1].textContent = amount(cost(row, row.run_seconds, row.run_joules, factor, share));
    });
    const lines = facts.rows.filter((row) => row.way === "bought").flatMap((bought) =>
      facts.rows.filter((row) => row.way === "rented" && row.name !== bought.name).map((rented) => {
        const fixed = bought.purchase / (bought.lifetime_hours / 730.5), power = bought.run_joules === null || facts.per_kwh === null ? null : (bought.run_joules / 3.6e6) * facts.per_kwh;
        const rent = rented.run_seconds === null ? null : (rented.per_hour * factor * rented.run_seconds) / 3600;
        if (power === null || rent === null) return `${bought.label} bought or ${rented.label} rented: unknown, as time or energy is missing.`;
        if (rent <= power) return `${rented.label} rented stays cheaper: the rent of a run is below the electricity of ${bought.label}.`;
        const runs = Math.ceil(fixed / (rent - power)), room = Math.floor((730.5 * 3600) / bought.run_seconds);
        if (runs > room) return `${rented.label} rented stays cheaper: buying ${bought.label} would need ${count(runs, "run")} a month, and it has time for ${room.toLocaleString("en")}.`;
        return `Buying ${bought.label} pays off above ${count(runs, "run")} a month, compared with renting ${rented.label}.`;
      }));
    if (list) list.replaceChildren(...lines.map((text) => make("li", {}, text)));
  };
  controls.hidden = !(price || use);
  for (const slider of [price, use]) slider?.addEventListener("input", update);
  update();
}
