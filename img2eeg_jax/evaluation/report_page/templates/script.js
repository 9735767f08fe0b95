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

for (const figure of document.querySelectorAll("figure.scalp")) {
  Scalp.start(figure, JSON.parse(figure.querySelector("script").textContent));
}

// Charts: Plotly is unpacked once; without it, the words of each chart stay.
async function unpacked(text) {
  const stream = new Blob([Scalp.bytes(text)]).stream().pipeThrough(new DecompressionStream("gzip"));
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
