// --- What a training costs: two sliders recompute what the page carries ----------------------------------------------

function training() {
  const facts = carried.training, controls = document.getElementById("training-controls");
  if (!facts || !controls) return;
  const rent = document.getElementById("training-rent"), use = document.getElementById("training-use");
  const list = document.getElementById("training-break-even"), secondsPerMonth = 730.5 * 3600;
  // An estimate has two digits, and says that it is one.
  const told = (value, estimated) => (estimated ? number(value, 2) : number(value));
  const cost = (row, factor, share) => {
    if (row.way === "rented") return row.cost * factor;
    const power = row.electricity ?? 0;
    return (row.cost - power) * (row.utilization / share) + power;
  };
  const line = (bought, rented, factor) => {
    const estimated = [bought, rented].some((row) => row.kind === "estimated"), tail = estimated ? ", by estimate" : "";
    const power = bought.electricity ?? 0, hourly = (rented.per_hour * factor * rented.seconds) / 3600;
    const stays = `Renting ${rented.label} stays cheaper than buying ${bought.label}${tail}`;
    const atOnce = bought.per_month + power <= Math.max(hourly, rented.minimum_rent * factor);
    if (!atOnce && hourly <= power) return `${stays}: renting for one training costs less than the electricity of training on ${bought.label}.`;
    const trainings = atOnce ? 1 : Math.ceil(bought.per_month / (hourly - power)), room = Math.floor(secondsPerMonth / bought.seconds);
    const many = estimated ? told(trainings, true) : trainings.toLocaleString("en");
    if (trainings > room) return `${stays}: that would take ${many} trainings a month, and ${bought.label} has time for ${room.toLocaleString("en")}.`;
    return `Buying ${bought.label} pays off above ${many} such training${trainings === 1 ? "" : "s"} a month, compared with renting ${rented.label}${tail}.`;
  };
  const update = () => {
    const factor = rent ? 10 ** (Number(rent.value) / 20) : 1, share = use ? Number(use.value) / 100 : 1;
    if (rent) document.getElementById("training-rent-text").textContent = `${number(100 * factor, 2)}%`;
    if (use) document.getElementById("training-use-text").textContent = `${use.value}%`;
    for (const cell of document.querySelectorAll("#training-table [data-cost]")) {
      const row = facts.rows[Number(cell.dataset.cost)], estimated = row.kind === "estimated";
      cell.textContent = `${estimated ? "about " : ""}${told(cost(row, factor, share), estimated)} ${facts.currency}`;
    }
    list?.replaceChildren(...facts.pairs.map(([bought, rented]) => make("li", {}, line(facts.rows[bought], facts.rows[rented], factor))));
  };
  controls.hidden = !(rent || use);
  for (const slider of [rent, use]) slider?.addEventListener("input", update);
}
