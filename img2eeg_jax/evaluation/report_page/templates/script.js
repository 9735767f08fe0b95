(() => {
"use strict";

// Light and dark: the system's choice, until the reader makes one.
const root = document.documentElement;
const isDark = () => (root.dataset.theme || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
document.getElementById("theme").addEventListener("click", () => { root.dataset.theme = isDark() ? "light" : "dark"; });

// Tables: a heading sorts, again the other way.
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => head.querySelector("button")?.addEventListener("click", () => {
    const up = head.getAttribute("aria-sort") !== "ascending";
    for (const other of heads) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", up ? "ascending" : "descending");
    const key = row => row.cells[column].dataset.sort;
    const isMissing = text => text === "" || text === "nan";
    const compare = (a, b) => {
      if (isMissing(a) || isMissing(b)) return isMissing(a) - isMissing(b);
      const order = isNaN(a) || isNaN(b) ? a.localeCompare(b) : a - b;
      return up ? order : -order;
    };
    const rows = [...table.tBodies[0].rows].sort((a, b) => compare(key(a), key(b)));
    table.tBodies[0].append(...rows);
  }));
}

for (const button of document.querySelectorAll("[data-copies]")) {
  button.addEventListener("click", async () => {
    const source = document.getElementById(button.dataset.copies);
    try {
      await navigator.clipboard.writeText(source.textContent);
      button.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(source);
      button.textContent = "Selected";
    }
  });
}

const bytes = text => Uint8Array.from(atob(text), character => character.charCodeAt(0));
const integers = text => new Int16Array(bytes(text).buffer);

// Colours from low to high: blue, white, red.
const STOPS = [[5, 48, 97], [33, 102, 172], [67, 147, 195], [146, 197, 222], [209, 229, 240], [247, 247, 247],
  [253, 219, 199], [244, 165, 130], [214, 96, 77], [178, 24, 43], [103, 0, 31]];
function colour(value, limit, signed) {
  const at = Math.max(0, Math.min(1, signed ? (value / limit + 1) / 2 : .5 + value / limit / 2)) * (STOPS.length - 1);
  const i = Math.min(STOPS.length - 2, Math.floor(at)), part = at - i;
  return STOPS[i].map((low, k) => Math.round(low + part * (STOPS[i + 1][k] - low)));
}
const rgb = parts => `rgb(${parts.join(",")})`;
const written = value => (value === null ? "undefined" : value.toFixed(3).replace("-", "−"));

for (const figure of document.querySelectorAll("figure.scalp")) {
  const data = JSON.parse(figure.querySelector("script").textContent);
  const find = selector => figure.querySelector(selector);
  const [select, slider, play, canvas] = ["select", "input", ".play", "canvas"].map(find);
  const pixels = integers(data.pixels), weights = integers(data.weights), n = data.names.length;
  const small = document.createElement("canvas");
  small.width = small.height = data.n_pixels;
  let chosen = 0;

  data.metrics.forEach((metric, i) => select.add(new Option(metric.label, i)));
  slider.max = data.times_ms.length - 1;
  slider.value = data.first;
  const group = find(".electrodes");
  const dots = data.xy.map(([x, y], i) => {
    const dot = document.createElementNS("http://www.w3.org/2000/svg", "circle");
    dot.setAttribute("cx", x);
    dot.setAttribute("cy", y);
    dot.setAttribute("r", pixels.length ? .021 : .045);
    for (const event of ["pointerenter", "click"]) dot.addEventListener(event, () => { chosen = i; draw(); });
    group.append(dot);
    return dot;
  });

  function drawMap(values, limit, signed) {
    const context = canvas.getContext("2d");
    context.clearRect(0, 0, canvas.width, canvas.height);
    if (!pixels.length || values.includes(null)) return;
    const inner = small.getContext("2d"), image = inner.createImageData(data.n_pixels, data.n_pixels);
    pixels.forEach((pixel, row) => {
      let sum = 0;
      for (let k = 0; k < n; k++) sum += weights[row * n + k] * values[k];
      image.data.set([...colour(sum / data.scale, limit, signed), 255], 4 * pixel);
    });
    inner.putImageData(image, 0, 0);
    context.imageSmoothingQuality = "high";
    context.drawImage(small, 0, 0, canvas.width, canvas.height);
  }

  function draw() {
    const metric = data.metrics[select.value], time = data.times_ms[slider.value];
    const values = metric.values[slider.value];
    drawMap(values, metric.limit, metric.signed);
    dots.forEach((dot, i) => {
      dot.style.fill = values[i] === null ? "none" : rgb(colour(values[i], metric.limit, metric.signed));
      dot.classList.toggle("on", i === chosen);
    });
    find(".time").textContent = `${Math.round(time)} ms`.replace("-", "−");
    slider.setAttribute("aria-valuetext", `${Math.round(time)} ms`);
    find(".readout").textContent = `${data.names[chosen]}, ${Math.round(time)} ms: ${metric.label} ${written(values[chosen])}`.replace(" -", " −");
    find(".most").textContent = written(metric.limit);
    find(".least").textContent = written(metric.signed ? -metric.limit : 0);
    const used = metric.signed ? STOPS : STOPS.slice(5);
    find(".scale i").style.background = `linear-gradient(to top, ${used.map(rgb).join(",")})`;
  }

  let timer = null;
  function stop() {
    clearInterval(timer);
    timer = null;
    play.textContent = "▶";
    play.setAttribute("aria-label", "Play");
  }
  play.addEventListener("click", () => {
    if (timer) return stop();
    play.textContent = "❚❚";
    play.setAttribute("aria-label", "Pause");
    timer = setInterval(() => { slider.value = (+slider.value + 1) % data.times_ms.length; draw(); }, 120);
  });
  slider.addEventListener("input", () => { stop(); draw(); });
  select.addEventListener("input", draw);
  const peak = data.metrics[0].values[data.first];
  chosen = peak.indexOf(peak.reduce((a, b) => (b !== null && (a === null || b > a) ? b : a), null));
  draw();
}

// Charts: Plotly is unpacked once; without it, the words of each chart stay.
async function unpacked(text) {
  const stream = new Blob([bytes(text)]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).text();
}
async function drawCharts() {
  const packed = document.getElementById("plotly");
  if (!packed || typeof DecompressionStream === "undefined") return;
  const script = document.createElement("script");
  script.textContent = await unpacked(packed.textContent);
  document.head.append(script);
  const plots = [...document.querySelectorAll(".plot")];
  for (const plot of plots) {
    const { data, layout } = JSON.parse(plot.querySelector("script").textContent);
    plot.querySelector(".waiting").remove();
    await Plotly.newPlot(plot, data, layout, { responsive: true, displayModeBar: false });
  }
  const resize = width => plots.forEach(plot => Plotly.relayout(plot, width ? { width, autosize: false } : { autosize: true, width: undefined }));
  addEventListener("beforeprint", () => resize(640));
  addEventListener("afterprint", () => resize(0));
  root.dataset.charts = "drawn";
}
drawCharts();
})();
