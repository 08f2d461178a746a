// Times of day by the reader's clock. The node writes UTC and says so; these are the same moments.
"use strict";

const two = (number) => String(number).padStart(2, "0");

function minute(seconds) {
  const when = new Date(seconds * 1000);
  return `${two(when.getHours())}:${two(when.getMinutes())}`;
}

function second(seconds) {
  return `${minute(seconds)}:${two(new Date(seconds * 1000).getSeconds())}`;
}

// Words with "13:05:09 UTC" in them; every such time is at most a day before the present.
function localWords(words, zone) {
  return words.replace(/(\d\d):(\d\d):(\d\d) UTC(?![+−])/g, (_, hours, minutes, seconds) => {
    const now = Math.floor(Date.now() / 1000), today = now - (now % 86400);
    const at = today + hours * 3600 + minutes * 60 + Number(seconds);
    return `${second(at > now + 3600 ? at - 86400 : at)} ${zone}`;
  });
}

function localZone() {
  const east = -new Date().getTimezoneOffset(), size = Math.abs(east);
  return east ? `UTC${east < 0 ? "−" : "+"}${two(Math.floor(size / 60))}:${two(size % 60)}` : "UTC";
}

function localTimes() {
  const zone = localZone(), each = (selector, change) => document.querySelectorAll(selector).forEach(change);
  if (zone === "UTC") return;
  each("time[datetime]", (time) => { time.textContent = second(Date.parse(time.dateTime) / 1000); });
  each("[data-minute]", (tick) => { tick.textContent = minute(tick.dataset.minute); });
  each(".mark title, #charts .unseen, #coverage", (said) => { said.textContent = localWords(said.textContent, zone); });
  each(".zone", (name) => { name.textContent = zone; });
}

localTimes();
document.addEventListener("news", localTimes);
