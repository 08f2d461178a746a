// Keeps the page current. The node sends parts of the page as HTML, already escaped, and columns of numbers. The
// parts replace the old ones without losing focus, selection or scroll position; the columns are drawn as lines.
"use strict";

const SILENT_MS = 4000; // without an update for this time, the page may be out of date
const AGAIN_MS = 3000; // before trying again after the node had too many subscribers
const COPIED_MS = 1500; // how long a button says so
const columns = new Map();
let heardAt = Date.now();

// -- parts

function lay(fresh, old) {
  if (old.nodeType !== fresh.nodeType || old.nodeName !== fresh.nodeName) {
    old.replaceWith(fresh);
  } else if (old.nodeType === Node.TEXT_NODE) {
    if (old.data !== fresh.data) old.data = fresh.data;
  } else {
    for (const { name } of [...old.attributes]) if (!fresh.hasAttribute(name)) old.removeAttribute(name);
    for (const { name, value } of fresh.attributes) {
      if (old.getAttribute(name) !== value) old.setAttribute(name, value);
    }
    layChildren(fresh, old);
  }
}

function layChildren(fresh, old) {
  const olds = [...old.childNodes], freshes = [...fresh.childNodes];
  freshes.forEach((child, place) => (place < olds.length ? lay(child, olds[place]) : old.append(child)));
  olds.slice(freshes.length).forEach((child) => child.remove());
}

function show(id, html) {
  const holder = document.createElement("template");
  holder.innerHTML = html;
  layChildren(holder.content, document.getElementById(id));
}

// -- charts

const LOWEST = 0.1; // lowest value of a logarithmic scale, in milliseconds

// The scale of a chart: from values to shares of the height, and the values that get a grid line.
function scale(kind, highest) {
  if (kind === "log") {
    const tens = Math.max(2, Math.ceil(Math.log10(Math.max(highest, 1) / LOWEST)));
    const marks = Array.from({ length: tens }, (_, place) => LOWEST * 10 ** (place + 1));
    return { marks, share: (value) => Math.log10(Math.max(value, LOWEST) / LOWEST) / tens };
  }
  const top = roof(highest);
  return { marks: [top / 2, top], share: (value) => value / top };
}

function roof(highest) {
  for (let step = 10 ** Math.floor(Math.log10(Math.max(highest, 1))); ; step *= 10) {
    for (const factor of [1, 2, 5, 10]) if (factor * step >= highest) return factor * step;
  }
}

function figures(number) {
  if (number === null || number === undefined) return "–";
  if (number < 100 && !Number.isInteger(number)) return number.toFixed(1);
  return Math.round(number).toLocaleString("en").replaceAll(",", "\u202f"); // as in the tables
}

function make(name, attributes, words) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  if (words !== undefined) element.textContent = words;
  return element;
}

function path(column, x, y) {
  let drawn = "", drawing = false;
  column.forEach((number, place) => {
    if (number !== null) drawn += `${drawing ? "L" : "M"}${x(place).toFixed(1)} ${y(number).toFixed(1)}`;
    if (number !== null && !drawing && column[place + 1] == null) drawn += "h0.1"; // a dot
    drawing = number !== null;
  });
  return drawn;
}

function draw(drawing) {
  const names = drawing.dataset.columns.split(" "), seconds = Number(drawing.dataset.seconds);
  const lines = names.map((name) => columns.get(name) || []);
  const width = drawing.clientWidth, height = drawing.clientHeight, floor = height - 18;
  const { marks, share } = scale(drawing.dataset.scale, Math.max(...lines.flat().map(Number)));
  const x = (place) => 1 + (place * (width - 2)) / (seconds - 1), y = (number) => floor - share(number) * (floor - 18);
  const parts = marks.flatMap((mark) => [
    make("line", { class: "grid", x1: 0, x2: width, y1: y(mark), y2: y(mark) }),
    make("text", { x: 4, y: y(mark) - 3 }, figures(Number(mark.toPrecision(3)))),
  ]);
  parts.push(make("line", { class: "grid", x1: 0, x2: width, y1: floor, y2: floor }));
  parts.push(make("text", { x: 4, y: height - 5 }, `${seconds / 60} min ago`));
  parts.push(make("text", { x: width - 4, y: height - 5, "text-anchor": "end" }, "now"));
  lines.forEach((line, number) => {
    parts.push(make("path", { class: `line line${number}`, d: path(line, x, y), "data-column": names[number] }));
  });
  drawing.setAttribute("viewBox", `0 0 ${width} ${height}`);
  drawing.replaceChildren(...parts);
  say(drawing, names, lines);
}

function say(drawing, names, lines) {
  const figure = drawing.closest("figure"), told = [];
  names.forEach((name, number) => {
    const latest = figure.querySelector(`[data-latest="${name}"]`);
    latest.textContent = figures(lines[number].at(-1));
    const words = latest.parentElement.textContent.trim();
    told.push(`${words} now, at most ${figures(Math.max(...lines[number].map(Number)))}`);
  });
  const words = figure.querySelector(".unseen");
  words.dataset.start ||= words.textContent.trim().replace(/\.$/, ": ");
  words.textContent = `${words.dataset.start}${told.join("; ")}.`;
}

function drawAll() {
  document.querySelectorAll("svg[data-columns]").forEach(draw);
}

function take(frame) {
  for (const [name, numbers] of Object.entries(frame.columns)) {
    columns.set(name, (frame.whole ? [] : columns.get(name) || []).concat(numbers).slice(-frame.kept));
  }
}

// -- news

function hear(event) {
  const frame = JSON.parse(event.data);
  heardAt = Date.now();
  document.body.classList.remove("stale");
  document.title = frame.title;
  document.getElementById("icon").href = frame.icon;
  for (const [id, html] of Object.entries(frame.parts)) show(id, html);
  take(frame);
  document.getElementById("charts").hidden = false;
  drawAll();
}

function listen() {
  const news = new EventSource("events");
  news.onmessage = hear;
  news.onerror = () => {
    if (news.readyState === EventSource.CLOSED) setTimeout(listen, AGAIN_MS);
  };
}

setInterval(() => {
  const seconds = Math.round((Date.now() - heardAt) / 1000);
  if (seconds * 1000 < SILENT_MS) return;
  document.body.classList.add("stale");
  document.title = document.title.replace(/^\S+/, "?");
  const icon = document.getElementById("icon");
  icon.href = icon.dataset.silent;
  document.getElementById("live").textContent = `no news for ${seconds} s: this node does not answer, trying again`;
}, 1000);

// -- buttons that copy a command

async function copy(button) {
  const code = button.parentElement.querySelector("code");
  try {
    await navigator.clipboard.writeText(code.textContent);
  } catch {
    const range = document.createRange(); // without https a browser offers only this
    range.selectNodeContents(code);
    getSelection().removeAllRanges();
    getSelection().addRange(range);
    document.execCommand("copy");
  }
  button.textContent = "copied";
  setTimeout(() => (button.textContent = "copy"), COPIED_MS);
}

// -- explanations: without a script, a click shows one in the middle; here it stands beside its word, also while the
// mouse or the focus of the keyboard is there

function explain(button, toggle) {
  const about = document.getElementById(button.getAttribute("popovertarget"));
  if (!about?.showPopover) return;
  if (about.matches(":popover-open")) return toggle && about.hidePopover();
  about.classList.add("placed");
  about.showPopover();
  const word = button.getBoundingClientRect(), box = about.getBoundingClientRect();
  const below = word.bottom + box.height < innerHeight;
  about.style.left = `${Math.max(8, Math.min(word.left, innerWidth - box.width - 8))}px`;
  about.style.top = `${below ? word.bottom : word.top - box.height}px`;
}

function leave(event) {
  const open = document.querySelector(":popover-open");
  if (open && !event.relatedTarget?.closest?.(".term, .about")) open.hidePopover();
}

addEventListener("click", (event) => {
  const button = event.target.closest?.(".copy"), word = event.target.closest?.(".term");
  if (button) copy(button);
  if (word) {
    event.preventDefault();
    explain(word, true);
  }
});
addEventListener("pointerover", (event) => {
  const word = event.pointerType === "mouse" && event.target.closest?.(".term");
  if (word) explain(word);
});
addEventListener("focusin", (event) => {
  if (event.target.matches(".term:focus-visible")) explain(event.target);
});
addEventListener("focusout", leave);
addEventListener("pointerout", (event) => event.pointerType === "mouse" && leave(event));

addEventListener("resize", drawAll);
document.documentElement.classList.add("scripted");
listen();
