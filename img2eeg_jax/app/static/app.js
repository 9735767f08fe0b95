(() => {
"use strict";

const find = selector => document.querySelector(selector);
const root = document.documentElement;
const isDark = () => (root.dataset.theme || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
find("#theme").addEventListener("click", () => { root.dataset.theme = isDark() ? "light" : "dark"; });

const limits = { bytes: +document.body.dataset.bytes, pictures: +document.body.dataset.pictures };
const chosen = [];          // {file, url, example}
let answer = null, difference = false, request = null, map = null, time = null;

const make = (tag, properties = {}, ...children) => {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
};
const minus = text => String(text).replace("-", "−");

function tell(text, busy = false) {
  find("#status").textContent = text;
  find("#status").classList.toggle("busy", busy);
}
function complain(text) {
  find("#problem").textContent = text;
  find("#problem").hidden = !text;
}

// Pictures: files and built-in ones are sent the same way.
function add(files, example = "") {
  const total = [...chosen.map(one => one.file), ...files].reduce((sum, file) => sum + file.size, 0);
  if (chosen.length + files.length > limits.pictures) return complain(`pictures: expected at most ${limits.pictures}, found ${chosen.length + files.length}`);
  if (total > limits.bytes) return complain(`pictures: expected at most ${limits.bytes / 1e6} MB together, found ${Math.ceil(total / 1e6)} MB`);
  for (const file of files) chosen.push({ file, url: URL.createObjectURL(file), example });
  changed();
}
function remove(one) {
  URL.revokeObjectURL(one.url);
  chosen.splice(chosen.indexOf(one), 1);
  changed();
}
function changed() {
  const list = find("#chosen");
  list.replaceChildren(...chosen.map(one => {
    const button = make("button", { type: "button", textContent: "×", ariaLabel: `Remove ${one.file.name}` });
    button.addEventListener("click", () => { remove(one); (list.querySelector("button") || find("#files")).focus(); });
    return make("li", {}, make("img", { src: one.url, alt: "" }), make("span", { textContent: one.file.name, title: one.file.name }), button);
  }));
  for (const button of document.querySelectorAll("[data-example]")) {
    button.setAttribute("aria-pressed", chosen.some(one => one.example === button.dataset.example));
  }
  predict();
}
find("#files").addEventListener("change", event => { add([...event.target.files]); event.target.value = ""; });
for (const button of document.querySelectorAll("[data-example]")) {
  button.addEventListener("click", async () => {
    const name = button.dataset.example, there = chosen.find(one => one.example === name);
    if (there) return remove(there);
    const blob = await (await fetch(`/examples/${name}`)).blob();
    add([new File([blob], name, { type: blob.type })], name);
  });
}
const drop = find("#drop");
addEventListener("dragover", event => { event.preventDefault(); drop.classList.toggle("over", true); });
addEventListener("dragleave", () => drop.classList.remove("over"));
addEventListener("drop", event => {
  event.preventDefault();
  drop.classList.remove("over");
  add([...event.dataTransfer.files]);
});

function form(more = {}) {
  const data = new FormData();
  data.append("encoder", find("#encoder").value);
  data.append("subject", find("#subject").value);
  for (const [name, value] of Object.entries(more)) data.append(name, value);
  return data;
}
async function post(path, data, signal) {
  let response;
  try {
    response = await fetch(path, { method: "POST", body: data, signal });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error("the page's server: expected an answer, found none (is it still running?)");
  }
  if (response.ok) return response;
  const text = await response.json().catch(() => ({}));
  throw new Error(text.error || `expected an answer, found status ${response.status}`);
}

async function predict() {
  request?.abort();
  complain("");
  if (!chosen.length) {
    find("#results").hidden = true;
    return tell("Choose a picture to begin.");
  }
  const own = request = new AbortController();
  tell("Predicting …", true);
  const data = form();
  for (const one of chosen) data.append("picture", one.file);
  try {
    answer = await (await post("/predict", data, own.signal)).json();
  } catch (error) {
    if (error.name === "AbortError") return;
    tell("");
    find("#results").hidden = true;
    return complain(error.message);
  }
  if (own !== request) return;
  tell(`Predicted ${answer.images.length === 1 ? answer.images[0].name : `${answer.images.length} pictures`}.`);
  fill();
  similar(own);
}

// The test images are predicted once, after the first answer is shown.
async function similar(own) {
  const section = find("#similar");
  section.hidden = true;
  const data = form();
  for (const one of chosen) data.append("picture", one.file);
  try {
    answer.similar = (await (await post("/similar", data, own.signal)).json()).images;
  } catch (error) {
    return;
  }
  if (own === request) drawSimilar();
}
function drawSimilar() {
  const section = find("#similar"), images = answer.similar?.[+find("#shown").value];
  section.hidden = !images;
  if (!images) return;
  section.querySelector(".similar").replaceChildren(...images.map(image => make("li", {},
    make("img", { src: image.thumbnail, alt: "" }),
    make("span", { textContent: image.name.split("/").pop(), title: image.name }),
    make("span", { className: "r", textContent: `r ${minus(image.r.toFixed(2))}` }))));
}

// What was answered.
function options(select, names, first) {
  const before = select.value;
  select.replaceChildren(...(first ? [new Option(first, "")] : []), ...names.map((name, i) => new Option(name, i)));
  if ([...select.options].some(option => option.value === before)) select.value = before;
}
function fill() {
  const names = answer.images.map(image => image.name);
  options(find("#shown"), names);
  options(find("#minus"), names, "nothing");
  find("#minus-label").hidden = names.length < 2;
  find("#results").hidden = false;
  find("#code").textContent = answer.code;
  show();
}
function current() {
  const a = answer.images[+find("#shown").value], b = answer.images[find("#minus").value];
  difference = Boolean(b) && b !== a;
  if (!difference) return { name: a.name, values: a.values, trusted: true };
  const values = a.values.map((row, i) => row.map((value, k) => value - b.values[i][k]));
  return { name: `${a.name} − ${b.name}`, values, trusted: false };
}
function warn() {
  const shown = [find("#shown").value, find("#minus").value].filter(Boolean).map(i => answer.images[i]);
  const far = shown.filter(image => image.familiarity > 1);
  const words = [];
  if (far.length) words.push(`Unlike the pictures that the network was trained on (further than 99 % of new ones): ${far.map(image => image.name).join(", ")}. How well it does on them is not known.`);
  if (answer.simulated) words.push("This network was trained on simulated EEG.");
  find("#warning").textContent = words.join(" ");
  find("#warning").hidden = !words.length;
}
function show() {
  const now = current();
  warn();
  drawPlot(now);
  drawMap(now);
  drawAreas();
  drawSimilar();
  root.dataset.shown = now.name;
}
find("#shown").addEventListener("input", show);
find("#minus").addEventListener("input", show);

function drawPlot(now) {
  const { times_ms: x, unit, trust } = answer, style = getComputedStyle(root);
  const soft = style.getPropertyValue("--soft"), accent = style.getPropertyValue("--accent");
  const traces = [], hasTrust = now.trusted && !trust.why;
  if (hasTrust) {
    traces.push({ x: [...x, ...[...x].reverse()], y: [...trust.reach, ...trust.reach.map(v => -v).reverse()],
      fill: "toself", fillcolor: "rgba(128,128,128,.18)", line: { width: 0 }, hoverinfo: "skip", mode: "lines" });
  }
  now.values.forEach((y, i) => traces.push({ x, y, mode: "lines", name: answer.ch_names[i],
    line: { color: answer.colours[i], width: 1.4 }, hovertemplate: `${answer.ch_names[i]} %{y:.3g} ${unit}, %{x:.0f} ms<extra></extra>` }));
  if (hasTrust) {
    const line = { width: 1.5 };
    traces.push({ x, y: trust.ceiling, yaxis: "y2", mode: "lines", line: { ...line, color: soft, dash: "dot" }, hovertemplate: "noise ceiling %{y:.2f}<extra></extra>" });
    traces.push({ x, y: trust.r, yaxis: "y2", mode: "lines", fill: "tozeroy", line: { ...line, color: accent }, hovertemplate: "reliability r %{y:.2f}<extra></extra>" });
  }
  const axis = { zeroline: true, automargin: true, fixedrange: true };
  const layout = {
    showlegend: false, margin: { l: 54, r: 12, t: 8, b: 44 }, hovermode: "closest", hoverdistance: -1,
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    xaxis: { ...axis, title: { text: "time after image onset (ms)" }, zeroline: false, anchor: hasTrust ? "y2" : "y" },
    yaxis: { ...axis, title: { text: `predicted EEG (${unit})` }, domain: [hasTrust ? .3 : 0, 1] },
    yaxis2: { ...axis, title: { text: "reliability" }, domain: [0, .2], range: [Math.min(0, ...(trust.r || [0])), 1], nticks: 3 },
    shapes: [cursor()],
  };
  const plot = find("#plot"), peak = strongest(now.values);
  Plotly.react(plot, traces, layout, { displayModeBar: false, responsive: true });
  plot.removeAllListeners?.("plotly_click");
  plot.on("plotly_click", event => map?.show(nearest(event.points[0].x)));
  find("#plot-title").textContent = now.name;
  plot.setAttribute("aria-label", `Predicted EEG of ${now.name}, ${answer.ch_names.length} channels over time; strongest at ${Math.round(x[peak.time])} ms in ${answer.ch_names[peak.channel]}: ${minus(now.values[peak.channel][peak.time].toPrecision(3))} ${unit}.`);
  find("#plot-note").textContent = note(now, trust);
}
function note(now, trust) {
  const places = "A curve's colour is its place on the head: red is right, blue left, green behind.";
  if (!now.trusted) return `${places} How far to trust a difference is not known.`;
  if (trust.why) return `${places} How far to trust it is not known: ${trust.why}`;
  return `${places} Grey: 95 % of true responses lie so near their curve. Below: r of ${trust.n_images} validation images (means over ${trust.n_repetitions}), dotted the noise ceiling; means over channels.`;
}
function strongest(values) {
  const best = { channel: 0, time: 0 };
  values.forEach((row, channel) => row.forEach((value, time) => {
    if (Math.abs(value) > Math.abs(values[best.channel][best.time])) Object.assign(best, { channel, time });
  }));
  return best;
}
const nearest = ms => answer.times_ms.reduce((best, at, i, all) => (Math.abs(at - ms) < Math.abs(all[best] - ms) ? i : best), 0);
const cursor = () => ({ type: "line", xref: "x", yref: "paper", x0: answer.times_ms[time ?? 0], x1: answer.times_ms[time ?? 0], y0: 0, y1: 1,
  line: { color: getComputedStyle(root).getPropertyValue("--accent"), width: 1.5 } });

function drawMap(now) {
  map?.stop();
  map = null;
  const figure = find("#scalp"), head = answer.head;
  figure.hidden = !head;
  if (!head) return;
  figure.replaceChildren(find("#maps").content.cloneNode(true));
  const values = answer.times_ms.map((_, k) => head.rows.map(row => now.values[row][k]));
  const limit = Math.max(1e-9, ...values.flat().map(Math.abs));
  const isSame = time !== null && time < values.length;
  const first = isSame ? time : strongest(now.values).time;
  time = first;
  map = Scalp.start(figure, { ...head, times_ms: answer.times_ms, first, metrics: [{ label: `EEG (${answer.unit})`, values, limit, signed: true }] });
  Plotly.relayout("plot", { shapes: [cursor()] });
}
find("#scalp").addEventListener("time", event => {
  time = event.detail;
  root.dataset.time = time;
  if (find("#plot").data) Plotly.relayout("plot", { shapes: [cursor()] });
});

function drawAreas() {
  const section = find("#areas");
  section.hidden = !answer.areas;
  if (!answer.areas) return;
  const image = +find("#shown").value;
  section.querySelector(".areas").replaceChildren(...answer.areas.map(area => {
    const values = area.maps[image], side = values.length;
    const canvas = make("canvas", { width: side, height: side, role: "img", ariaLabel: `${area.name}, where it responds` });
    const context = canvas.getContext("2d"), pixels = context.createImageData(side, side);
    values.flat().forEach((value, i) => pixels.data.set([...Scalp.colour(value, 1, false), 255], 4 * i));
    context.putImageData(pixels, 0, 0);
    const words = ` ${area.shape.join(" × ")}; mean ${area.means[image].toPrecision(3)}, ${Math.round(100 * area.active[image])} % active`;
    return make("figure", {}, canvas, make("figcaption", {}, make("strong", { textContent: area.name }), words));
  }));
}

for (const button of document.querySelectorAll("[data-format]")) {
  button.addEventListener("click", async () => {
    const data = form({ format: button.dataset.format, difference: difference ? "1" : "" });
    const order = difference ? [+find("#shown").value, +find("#minus").value]
      : [+find("#shown").value, ...chosen.keys()].filter((i, at, all) => all.indexOf(i) === at);
    for (const i of order) data.append("picture", chosen[i].file);
    tell("Writing the file …", true);
    try {
      const response = await post("/download", data);
      const name = response.headers.get("content-disposition").match(/filename="(.*)"/)[1];
      const url = URL.createObjectURL(await response.blob());
      make("a", { href: url, download: name }).click();
      setTimeout(() => URL.revokeObjectURL(url), 10_000);
      tell(`Wrote ${name}.`);
    } catch (error) {
      tell("");
      complain(error.message);
    }
  });
}
find("#copy").addEventListener("click", async event => {
  try {
    await navigator.clipboard.writeText(find("#code").textContent);
    event.target.textContent = "Copied";
  } catch {
    getSelection().selectAllChildren(find("#code"));
    event.target.textContent = "Selected";
  }
});

async function chooseEncoder() {
  const name = encodeURIComponent(find("#encoder").value);
  const told = await (await fetch(`/encoder?name=${name}`)).json();
  if (told.error) return complain(told.error);
  find("#subject").replaceChildren(...told.subjects.map(subject => new Option(subject)));
  find("#whose").hidden = !told.subjects.length;
  time = null;
  if (chosen.length) predict();
}
find("#encoder").addEventListener("input", chooseEncoder);
find("#subject").addEventListener("input", predict);
chooseEncoder().then(() => { root.dataset.ready = "yes"; });
})();
