// Keeps the page current. The node sends parts of the page as HTML, already escaped. They replace the old ones
// without losing focus, selection or scroll position. The event `news` passes everything on to the other scripts.
"use strict";

const SILENT_MS = 4000; // without an update for this time, the page may be out of date
const AGAIN_MS = 3000; // before trying again after the node had too many subscribers
const COPIED_MS = 1500; // how long a button says so
let heardAt = Date.now();
let news; // the stream of events

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

// -- news

function hear(event) {
  const frame = JSON.parse(event.data);
  heardAt = Date.now();
  document.body.classList.remove("stale");
  document.title = frame.title;
  document.getElementById("icon").href = frame.icon;
  for (const [id, html] of Object.entries(frame.parts)) show(id, html);
  document.dispatchEvent(new CustomEvent("news", { detail: frame }));
}

function listen() {
  news?.close();
  news = new EventSource(`events${location.search}`);
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

document.documentElement.classList.add("scripted");

// -- time ranges

// A link to another time range changes the charts, and leaves the rest of the page as it is.
document.addEventListener("click", (event) => {
  const link = event.target.closest("#ranges a");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
  event.preventDefault();
  history.replaceState(null, "", link.href);
  listen();
});

listen();
