// The values of the charts at one time: under the pointer or finger, and by keyboard. The drawings come from the
// node and are complete without this. The event `news` (kraft.js) brings the numbers behind them.
"use strict";

{
  const STEPS = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, PageDown: -30, PageUp: 30 };
  const MARK_SHARE = 0.012; // of the width, within which the cursor is at a mark
  const plots = document.querySelectorAll(".plot");
  const numbers = new Map(); // by column
  const readings = new Map(); // the node's words about the newest values, by chart
  let newest = 0, step = 1, count = 0; // Unix second of the last column, seconds of a column, number of columns
  let at = null; // Unix second of the column at the cursor
  let pointer = null; // { plot, x } while the pointer is over a chart

  const start = () => newest - (count - 1) * step;
  const reading = (plot) => document.getElementById(`${plot.id}-reading`);

  // As charts/axis.py writes numbers.
  function figure(number) {
    if (number === null || number === undefined) return "–";
    if (number > 0 && number < 0.1) return String(Number(number.toPrecision(2)));
    if (number < 100 && !Number.isInteger(number)) return number.toFixed(1);
    return Math.round(number).toLocaleString("en").replaceAll(",", "\u202f");
  }

  function when() {
    return step < 60 ? second(at) : `${minute(at)} to ${minute(at + step)}`;
  }

  // What the marks at the cursor say.
  function events(plot) {
    const near = Math.max(step, count * step * MARK_SHARE);
    return [...plot.querySelectorAll(".mark")]
      .filter((mark) => Math.abs(mark.dataset.at - at - step / 2) <= near / 2)
      .map((mark) => mark.querySelector("title").textContent)
      .join("\n");
  }

  function show(plot) {
    const place = (at - start()) / step, cursor = plot.querySelector(".cursor");
    cursor.hidden = false;
    cursor.style.left = `${(100 * place) / (count - 1)}%`;
    cursor.classList.toggle("late", place > count / 2);
    cursor.firstChild.textContent = events(plot);
    reading(plot).querySelector(".when").textContent = when();
    const values = [...reading(plot).querySelectorAll("[data-latest]")].map((value) => {
      value.textContent = figure(numbers.get(value.dataset.latest)?.[place]);
      return value.parentElement.textContent.trim();
    });
    plot.setAttribute("aria-valuemin", start());
    plot.setAttribute("aria-valuemax", newest);
    plot.setAttribute("aria-valuenow", at);
    plot.setAttribute("aria-valuetext", [when(), ...values, cursor.firstChild.textContent].filter(Boolean).join(", "));
  }

  function hide(plot) {
    plot.querySelector(".cursor").hidden = true;
    if (readings.has(plot)) reading(plot).innerHTML = readings.get(plot);
  }

  // Move the cursors of all charts to the column that begins at a Unix second; null takes them away.
  function move(to) {
    at = to === null || !count ? null : Math.min(Math.max(to, start()), newest);
    plots.forEach(at === null ? hide : show);
  }

  function point({ plot, x }) {
    const box = plot.getBoundingClientRect();
    move(start() + step * Math.round(((x - box.left) / box.width) * (count - 1)));
  }

  function follow(event) {
    pointer = { plot: event.currentTarget, x: event.clientX };
    point(pointer);
  }

  // A finger that is lifted leaves the cursor where it is.
  function leave(event) {
    pointer = null;
    if (event.pointerType !== "touch") move(null);
  }

  function press(event) {
    if (event.key === "Escape") move(null);
    else if (event.key === "Home") move(start());
    else if (event.key === "End") move(newest);
    else if (event.key in STEPS) move((at ?? newest) + STEPS[event.key] * step);
    else return;
    event.preventDefault();
  }

  for (const plot of plots) {
    const cursor = document.createElement("div");
    cursor.className = "cursor";
    cursor.hidden = true;
    cursor.append(document.createElement("span"));
    plot.append(cursor);
    plot.tabIndex = 0;
    plot.setAttribute("role", "slider");
    plot.addEventListener("pointerdown", follow);
    plot.addEventListener("pointermove", follow);
    plot.addEventListener("pointerleave", leave);
    plot.addEventListener("keydown", press);
    plot.addEventListener("focus", () => at ?? move(newest));
    plot.addEventListener("blur", () => move(null));
  }

  document.addEventListener("news", ({ detail: { whole, parts, series } }) => {
    for (const [name, fresh] of Object.entries(series.columns)) {
      const known = whole ? [] : numbers.get(name).slice(0, -1); // the last one may not have been complete
      numbers.set(name, known.concat(fresh).slice(-series.count));
    }
    if (series.step !== step) at = null;
    ({ newest, step, count } = series);
    for (const plot of plots) {
      const said = parts[`${plot.id}-reading`];
      if (said !== undefined) readings.set(plot, said);
    }
    if (pointer) point(pointer);
    else move(at);
  });
}
