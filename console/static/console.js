// Keys, progress and help. Everything works without it; nothing here loads from elsewhere.
"use strict";

const rows = () => Array.from(document.querySelectorAll("[data-row]"));
let place = -1;

function go(step) {
  const all = rows();
  if (!all.length) return;
  place = Math.max(0, Math.min(all.length - 1, place + step));
  all.forEach((row, number) => row.classList.toggle("at", number === place));
  const link = all[place].querySelector("a");
  if (link) link.focus();
  all[place].scrollIntoView({ block: "nearest" });
}

const places = { f: "/findings", m: "/map", s: "/search", a: "/accounts", r: "/runs" };
let waiting = false;

function help() {
  const dialog = document.getElementById("keys");
  if (dialog && !dialog.open) dialog.showModal();
}

document.addEventListener("keydown", (event) => {
  const field = event.target.closest("input, textarea, select, [contenteditable]");
  if (field || event.ctrlKey || event.metaKey || event.altKey) return;
  if (waiting) {
    waiting = false;
    if (places[event.key]) location.assign(places[event.key]);
    return;
  }
  const doing = {
    j: () => go(1),
    k: () => go(-1),
    g: () => { waiting = true; },
    "?": help,
    "/": () => {
      const first = document.querySelector("main input:not([type=hidden]), main textarea, main select");
      if (first) first.focus();
    },
  }[event.key];
  if (doing) {
    event.preventDefault();
    doing();
  }
});

for (const link of document.querySelectorAll("[data-help]")) {
  link.addEventListener("click", (event) => {
    event.preventDefault();
    help();
  });
}

for (const box of document.querySelectorAll("[data-run-events]")) {
  const source = new EventSource(box.dataset.runEvents);
  source.onmessage = (event) => {
    const run = JSON.parse(event.data);
    if (run.finished) {
      source.close();
      location.reload();
      return;
    }
    box.querySelector("[data-stage]").textContent = run.stage || "waiting";
    box.querySelector("[data-share]").textContent = `${Math.round(100 * run.progress)} %`;
    box.querySelector("progress").value = run.progress;
  };
  // Where events do not come through, the page asks again by itself.
  source.onerror = () => {
    source.close();
    setTimeout(() => location.reload(), 3000);
  };
}

// Parts of a page that take longer come after it. Without scripts, the link in their place leads to them.
async function fill(place) {
  try {
    const answer = await fetch(place.dataset.part, { credentials: "same-origin" });
    if (!answer.ok || answer.redirected) return;
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    place.replaceChildren(...Array.from(page.body.childNodes));
  } catch {
    return; // the link stays
  }
  for (const figure of place.querySelectorAll("[data-explains]")) {
    for (const name of figure.dataset.explains.split(" ").filter(Boolean)) {
      for (const spot of document.querySelectorAll(`[data-picture-of="${name}"]`)) {
        const link = document.createElement("a");
        link.href = `#${figure.id}`;
        link.textContent = "see it";
        link.setAttribute("aria-label", `See the picture of ${name.replaceAll("_", " ")}`);
        spot.replaceChildren(link);
      }
    }
  }
  if (location.hash.startsWith("#picture-")) document.getElementById(location.hash.slice(1))?.scrollIntoView();
}
document.querySelectorAll("[data-part]").forEach(fill);
