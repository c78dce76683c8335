// Draws the page's charts as they come into sight; shows and hides arms; switches curves between steps and clock.
"use strict";
(() => {
  const read = (id) => JSON.parse(document.getElementById(id).textContent);
  const clock = read("clock"), charts = { ...read("charts"), ...clock.charts };
  const plots = [...document.querySelectorAll(".plot")];
  const hidden = new Set();
  let axis = "steps", printing = false;
  const PRINTED = 318; // pixels: half of a sheet of A4 or Letter, within margins
  const touch = matchMedia("(pointer: coarse)").matches;
  const config = { displaylogo: false, displayModeBar: false, responsive: true, doubleClick: "reset" };

  // ---------------------------------------------------------------- what a chart looks like now

  const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  function look(layout) {
    const line = { gridcolor: color("--grid"), linecolor: color("--line"), zerolinecolor: color("--line") };
    return {
      ...layout,
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      font: { family: color("--font"), size: 12, color: color("--ink") },
      hoverlabel: {
        bgcolor: color("--hover"), bordercolor: color("--line"), font: { size: 11, color: color("--ink") }, namelength: 40,
      },
      dragmode: touch ? false : "zoom",
      xaxis: { ...layout.xaxis, ...line, zeroline: false, ticks: "outside", tickcolor: color("--line") },
      yaxis: { ...layout.yaxis, ...line, zeroline: false },
    };
  }

  const shown = (meta) => (meta.arms ? !meta.arms.some((arm) => hidden.has(arm)) : !hidden.has(meta.arm));

  function traces(id) {
    const places = axis === "clock" && clock.moved[id];
    const data = charts[id].data.map((trace, index) => ({
      ...trace,
      visible: shown(trace.meta),
      ...(places ? places[index] : {}),
    }));
    data.forEach((trace, index) => {
      if (trace.meta.end !== "line") return;
      const [low, high] = [data[index - 2], data[index - 1]];
      const banded = high && high.meta.end === "high" && high.meta.arm === trace.meta.arm;
      const [fewest, most] = trace.meta.n;
      const runs = fewest === most ? `n = ${most}` : `n = ${fewest} to ${most}`;
      trace.customdata = trace.y.map((_, k) =>
        banded && low.y[k] !== null ? `[${low.y[k].toPrecision(4)}, ${high.y[k].toPrecision(4)}], ${runs}` : `${runs}, no interval`);
      trace.hovertemplate = "%{y:.4g} %{customdata}";
    });
    return data;
  }

  function layout(id) {
    const whole = look(charts[id].layout);
    if (printing) whole.width = PRINTED;
    if (axis === "clock" && clock.moved[id]) whole.xaxis.title = { text: clock.title };
    return whole;
  }

  // ---------------------------------------------------------------- drawing

  const drawn = new Set();
  const draw = (plot) => {
    drawn.add(plot);
    return Plotly.react(plot, traces(plot.id), layout(plot.id), config);
  };
  const redraw = () => drawn.forEach(draw);

  const watch = new IntersectionObserver((entries) => {
    entries.filter((entry) => entry.isIntersecting && !drawn.has(entry.target)).forEach((entry) => draw(entry.target));
  }, { rootMargin: "800px" });
  plots.forEach((plot) => watch.observe(plot));

  // ---------------------------------------------------------------- switches

  document.querySelectorAll("[data-arm]").forEach((button) => {
    const arm = Number(button.dataset.arm);
    button.addEventListener("click", () => {
      const show = hidden.has(arm);
      if (show) hidden.delete(arm); else hidden.add(arm);
      button.setAttribute("aria-pressed", String(show));
      document.querySelectorAll(`[data-of="${arm}"]`).forEach((name) => { name.hidden = !show; });
      redraw();
    });
  });
  const axes = [...document.querySelectorAll("[data-axis]")];
  axes.forEach((button) => button.addEventListener("click", () => {
    axis = button.dataset.axis;
    axes.forEach((other) => other.setAttribute("aria-pressed", String(other === button)));
    redraw();
  }));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);

  // Where there are many environments a heading opens its charts; in print all are open.
  const folds = [...document.querySelectorAll("details[data-many]")];
  folds.forEach((fold) => { fold.open = false; });
  addEventListener("beforeprint", () => {
    printing = true;
    document.documentElement.dataset.print = "";
    folds.forEach((fold) => { fold.open = true; });
    plots.forEach(draw);
  });
  addEventListener("afterprint", () => {
    printing = false;
    delete document.documentElement.dataset.print;
    redraw();
  });
})();
