// --- Scales, ticks and marks of the explorer's drawings -------------------------------------------------------------

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
