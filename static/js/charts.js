// Draws over the charts that the server has drawn: values under the cursor, releases as lines across, all with one cursor.
/* global uPlot */
const root = document.querySelector("[data-charts]");
const probe = document.createElement("span");
const plots = new Map();
const HEIGHT = 200;
const MIB = 1024 * 1024;
const LEAST = { cores: 0.05, "per second": 0.1, bytes: 1024 }; // what a flat line stands in
const DASHES = [[], [6, 3], [2, 3], [8, 3, 2, 3]];

if (root && window.uPlot) {
  probe.hidden = true;
  document.body.append(probe);
  refresh();
  const every = Math.max(15, Number(root.dataset.every)) * 1000;
  setInterval(() => { if (!document.hidden) refresh(); }, every);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { clear(); refresh(); });
  new ResizeObserver(() => {
    for (const [element, plot] of plots) plot.setSize({ width: widthOf(element), height: HEIGHT });
  }).observe(root);
}

// A custom property may hold light-dark(): only a computed colour says which it is.
function color(name) {
  probe.style.color = `var(${name})`;
  return getComputedStyle(probe).color;
}

async function refresh() {
  let data;
  try {
    const answer = await fetch(root.dataset.charts, { headers: { Accept: "application/json" } });
    if (!answer.ok || answer.redirected) return;
    data = await answer.json();
  } catch {
    return; // the next round may do better
  }
  for (const element of root.querySelectorAll("[data-chart]")) {
    const chart = data.charts[element.dataset.chart];
    if (chart) draw(element, chart, data);
  }
}

function draw(element, chart, data) {
  const values = [data.times, ...chart.lines.map((line) => line.values)];
  if (chart.limit) values.push(data.times.map(() => chart.limit));
  const plot = plots.get(element);
  if (plot && plot.series.length === values.length) {
    plot.markers = data.markers;
    plot.setData(values);
    return;
  }
  plot?.destroy();
  const told = element.querySelector(".chart-told") ?? document.createElement("p");
  told.className = "chart-told";
  told.setAttribute("aria-hidden", "true"); // the table below says the same in figures
  element.append(told);
  plots.set(element, make(element, chart, data, values, told));
  element.classList.add("chart-drawn");
}

function make(element, chart, data, values, told) {
  const quiet = color("--color-text-quiet");
  const line = color("--color-line");
  const font = `11px ${getComputedStyle(document.body).fontFamily}`;
  const axis = { stroke: quiet, font, grid: { stroke: line, width: 1 }, ticks: { show: false } };
  const series = chart.lines.map((each, n) => ({
    label: each.name, stroke: color(`--color-series-${(n % 4) + 1}`), width: 1.5, dash: DASHES[Math.floor(n / 4) % 4], points: { show: false },
  }));
  if (chart.limit) series.push({ label: "limit", stroke: quiet, width: 1, dash: [4, 4], points: { show: false } });
  const plot = new uPlot({
    width: widthOf(element), height: HEIGHT, legend: { show: false },
    cursor: { sync: { key: "metrics" }, points: { size: 6 }, drag: { x: false, y: false } },
    tzDate: (at) => uPlot.tzDate(new Date(at * 1000), "UTC"),
    scales: { y: { range: (_, low, high) => [0, Math.max(high * 1.05, LEAST[chart.unit] ?? 1)] } },
    axes: [{ ...axis, values: (_, ticks, column, space, step) => ticks.map((at) => moment(at, step)) }, { ...axis, size: 64, values: (_, ticks) => ticks.map((tick) => text(tick, chart.unit)) }],
    series: [{}, ...series],
    hooks: {
      draw: [(self) => drawMarkers(self, quiet)],
      setCursor: [(self) => { told.textContent = tell(self, chart.unit); }],
    },
  }, values, element);
  plot.markers = data.markers;
  return plot;
}

function drawMarkers(plot, stroke) {
  const { ctx, bbox } = plot;
  ctx.save();
  ctx.strokeStyle = stroke;
  ctx.lineWidth = devicePixelRatio;
  ctx.setLineDash([2 * devicePixelRatio, 3 * devicePixelRatio]);
  for (const marker of plot.markers ?? []) {
    const x = Math.round(plot.valToPos(marker.at, "x", true));
    if (x < bbox.left || x > bbox.left + bbox.width) continue;
    ctx.beginPath();
    ctx.moveTo(x, bbox.top);
    ctx.lineTo(x, bbox.top + bbox.height);
    ctx.stroke();
  }
  ctx.restore();
}

function tell(plot, unit) {
  const at = plot.cursor.idx;
  if (at == null) return "";
  const when = plot.data[0][at];
  const step = plot.data[0][1] - plot.data[0][0];
  const parts = plot.series.slice(1).map((series, n) => `${series.label} ${text(plot.data[n + 1][at], unit)}`);
  const near = (plot.markers ?? []).filter((marker) => marker.at >= when && marker.at < when + step).map((marker) => marker.text);
  return [`${iso(when).slice(0, 19).replace("T", " ")} UTC`, ...parts, ...near].join(" · ");
}

const iso = (at) => new Date(at * 1000).toISOString();

// Below the chart: days as month-day, hours and minutes on 24, in UTC like all exact times here.
function moment(at, step) {
  const day = iso(at).slice(5, 10);
  const time = iso(at).slice(11, 16);
  return step >= 86400 || time === "00:00" ? day : time;
}

function text(value, unit) {
  if (value == null) return "–";
  if (unit === "bytes") {
    if (value >= 1024 * MIB) return `${+(value / 1024 / MIB).toFixed(1)} GiB`;
    return value >= MIB ? `${+(value / MIB).toFixed(value < 10 * MIB ? 1 : 0)} MiB` : `${+(value / 1024).toFixed(1)} KiB`;
  }
  if (unit === "ms") return value >= 1000 ? `${+(value / 1000).toFixed(1)} s` : `${Math.round(value)} ms`;
  const number = +value.toFixed(value < 10 ? 2 : 0);
  return unit === "per second" ? `${number}/s` : String(number);
}

function widthOf(element) {
  const style = getComputedStyle(element);
  return Math.max(120, element.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight));
}

function clear() {
  for (const plot of plots.values()) plot.destroy();
  plots.clear();
}
