// Maps of the scalp that a slider moves through time; `Scalp.start` draws in a figure
// made by the macro of maps, which sends "time" with each time that it shows.
const Scalp = (() => {
"use strict";

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

function start(figure, data) {
  const find = selector => figure.querySelector(selector);
  const [select, slider, play, canvas] = ["select", "input", ".play", "canvas"].map(find), electrode = find(".electrode");
  const pixels = integers(data.pixels), weights = integers(data.weights), n = data.names.length;
  const small = document.createElement("canvas");
  small.width = small.height = data.n_pixels;
  let chosen = 0;

  data.metrics.forEach((metric, i) => select.add(new Option(metric.label, i)));
  data.names.forEach((name, i) => electrode.add(new Option(name, i)));
  electrode.addEventListener("input", () => { chosen = +electrode.value; draw(); });
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
    electrode.value = chosen;
    find(".most").textContent = written(metric.limit);
    find(".least").textContent = written(metric.signed ? -metric.limit : 0);
    const used = metric.signed ? STOPS : STOPS.slice(5);
    figure.dispatchEvent(new CustomEvent("time", { detail: +slider.value }));
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
  return { show(time) { slider.value = time; draw(); }, stop };
}

return { bytes, colour, rgb, start };
})();
