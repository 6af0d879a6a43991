// Parts of a page that ask again and again whether there is something new: `data-every` says after how many milliseconds.
// A page that nobody looks at asks nothing; a server that does not answer is asked less and less often.
const last = new WeakMap();
let failures = 0;

function beat() {
  if (document.visibilityState !== "visible") return;
  const now = performance.now();
  for (const element of document.querySelectorAll("[data-every]")) {
    const wait = Number(element.dataset.every) * Math.min(2 ** failures, 16);
    if (now - (last.get(element) ?? began) < wait) continue;
    if (element.contains(document.activeElement) && document.activeElement.matches("input:not([type=checkbox]), textarea, select")) continue;
    last.set(element, now);
    element.dispatchEvent(new CustomEvent("poll"));
  }
}

const began = performance.now();
setInterval(beat, 250);
document.addEventListener("visibilitychange", beat);

function connected(yes) {
  failures = yes ? 0 : failures + 1;
  document.documentElement.classList.toggle("lost", !yes);
}
document.addEventListener("htmx:after:request", (event) => {
  const status = event.detail?.ctx?.response?.status ?? 0;
  connected(status > 0 && status < 500);
});
document.addEventListener("htmx:error", () => connected(false));
