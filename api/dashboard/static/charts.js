// Charts, drawn from the tables beside them: a row is a moment, a column a line. Who does not see them reads the table.
import Plot from "./uplot.js";
import { lasted } from "./times.js";

const SECOND = 1000;
const drawn = new Map();

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

// `light-dark()` means nothing to a canvas: an element that has the colour tells which of the two it is.
function shade(name) {
  const probe = document.createElement("i");
  probe.style.color = colour(name);
  document.body.append(probe);
  const found = getComputedStyle(probe).color;
  probe.remove();
  return found;
}

const WHOLE = [1, 2, 5, 10, 20, 50, 100, 200, 500].flatMap((number) => [number, number * 1000, number * 1_000_000]).sort((a, b) => a - b);
const two = (number) => String(number).padStart(2, "0");
const KINDS = {
  count: (value) => (value >= 10_000 ? `${Math.round(value / 1000)}k` : String(Math.round(value * 10) / 10)),
  share: (value) => `${Math.round(value * 10) / 10} %`,
  time: (value) => {
    if (value < 1) return `${Math.round(value * 1000)} ms`;
    return value < 60 ? `${Math.round(value * 10) / 10} s` : lasted(value * SECOND);
  },
};

function moment(seconds, step) {
  const at = new Date(seconds * SECOND);
  const day = at.toLocaleDateString(undefined, { month: "short", day: "numeric" });
  return step >= 10_800 ? `${day}, ${two(at.getHours())}:${two(at.getMinutes())}` : `${two(at.getHours())}:${two(at.getMinutes())}`;
}

function read(figure) {
  const heads = [...figure.querySelectorAll("thead th[data-colour]")];
  const rows = [...figure.querySelectorAll("tbody tr")];
  const number = (cell) => (cell.dataset.value === "" ? null : Number(cell.dataset.value));
  const columns = heads.map((head) => rows.map((row) => number(row.children[head.cellIndex])));
  return {
    names: heads.map((head) => head.textContent),
    colours: heads.map((head) => head.dataset.colour),
    data: [rows.map((row) => new Date(row.querySelector("time").dateTime) / SECOND), ...columns],
  };
}

// Lines that are parts of a whole stand on each other, the last one at the bottom.
function stacked(data) {
  const sums = data.slice(1).map((line) => [...line]);
  for (let at = sums.length - 2; at >= 0; at -= 1) sums[at] = sums[at].map((value, nth) => value + sums[at + 1][nth]);
  return [data[0], ...sums];
}

function axes(kind) {
  const shared = { stroke: shade("dim"), grid: { stroke: shade("line"), width: 1 }, ticks: { show: false }, font: "11px system-ui, sans-serif" };
  const times = [[86_400, "{MMM} {D}", null, null, null, null, null, null, 1], [60, "{HH}:{mm}", "\n{MMM} {D}", null, null, null, null, null, 1]];
  const format = (_, values) => values.map((value) => (value === null ? "" : KINDS[kind](value)));
  return [{ ...shared, values: times, space: 64, grid: { show: false } }, { ...shared, values: format, size: 58, space: 30, incrs: kind === "count" ? WHOLE : undefined }];
}

function follow(figure, table, step) {
  const values = [...figure.querySelectorAll(".legend .value")];
  const at = figure.querySelector(".legend .at");
  const show = KINDS[figure.dataset.chart];
  return (plot) => {
    const nth = plot.cursor.idx;
    const known = nth !== null && nth !== undefined;
    if (at) at.textContent = known ? moment(table.data[0][nth], step) : "";
    values.forEach((element, line) => {
      const value = known ? table.data[line + 1][nth] : null;
      element.textContent = value === null ? "" : show(value);
    });
  };
}

function draw(figure) {
  const place = figure.querySelector(".plot");
  const table = read(figure);
  const said = JSON.stringify([table.data, table.colours.map(shade), place.clientWidth]);
  if (place.clientWidth === 0 || drawn.get(place)?.said === said) return;
  drawn.get(place)?.plot.destroy();
  const kind = figure.dataset.chart;
  const stacks = figure.dataset.stacked !== undefined;
  const step = table.data[0].length > 1 ? table.data[0][1] - table.data[0][0] : 60;
  const bars = stacks ? Plot.paths.bars({ size: [0.8, 40], align: 1 }) : undefined;
  const series = table.names.map((label, nth) => {
    const tint = shade(table.colours[nth]);
    return { label, stroke: tint, width: stacks ? 0 : 1.75, fill: stacks ? tint : undefined, paths: bars, points: { show: !stacks, size: 4, fill: tint, filter: stacks ? undefined : lone }, spanGaps: false };
  });
  const top = (_, low, high) => [0, Math.max(high * 1.1, { count: 4, share: 10, time: 0.01 }[kind])];
  const edges = [table.data[0][0], table.data[0].at(-1) + (stacks ? step : 0)];
  const options = {
    width: place.clientWidth, height: place.clientHeight, legend: { show: false }, padding: [8, 22, 0, 0],
    cursor: { y: false, drag: { x: false, y: false }, points: { show: !stacks } },
    scales: { x: { range: () => edges }, y: { range: top } },
    axes: axes(kind), series: [{}, ...series],
    hooks: { setCursor: [follow(figure, table, step)] },
  };
  place.replaceChildren();
  const plot = new Plot(options, stacks ? stacked(table.data) : table.data, place);
  drawn.set(place, { plot, said });
}

// Only what has no neighbour needs a point of its own; the others are on a line.
function lone(plot, line) {
  const values = plot.data[line];
  return values.flatMap((value, at) => (value !== null && values[at - 1] == null && values[at + 1] == null ? [at] : []));
}

function drawAll() {
  for (const [place, { plot }] of drawn) {
    if (!place.isConnected) {
      plot.destroy();
      drawn.delete(place);
    }
  }
  document.querySelectorAll("[data-chart]").forEach(draw);
}

drawAll();
document.addEventListener("htmx:after:swap", drawAll);
new ResizeObserver(drawAll).observe(document.querySelector("main"));
new MutationObserver(drawAll).observe(document.documentElement, { attributeFilter: ["data-theme"] });
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
