// The keyboard: / searches, j and k walk through a list, Enter opens, g and a letter goes to a page, ? tells all this.
const rows = () => [...document.querySelectorAll("[data-list] tbody tr, [data-list] li")].filter((row) => row.querySelector("a.row"));
let leading = 0;

function walk(step) {
  const all = rows();
  if (!all.length) return;
  const at = all.findIndex((row) => row.contains(document.activeElement));
  const next = all[Math.min(Math.max(at + step, 0), all.length - 1)];
  next.querySelector("a.row").focus();
  next.scrollIntoView({ block: "nearest" });
}

const ACTS = {
  "/": () => document.querySelector("input[type=search]")?.focus(),
  j: () => walk(1),
  k: () => walk(-1),
  x: () => document.activeElement?.closest("tr")?.querySelector("input[type=checkbox]")?.click(),
  "?": () => document.getElementById("shortcuts")?.showModal(),
  g: () => { leading = performance.now(); },
};

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.matches("input:not([type=checkbox]), textarea, select")) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  if (document.querySelector("dialog[open]")) return;
  if (leading && performance.now() - leading < 1200) {
    leading = 0;
    const link = document.querySelector(`nav a[data-key="${CSS.escape(event.key)}"]`);
    if (link) {
      event.preventDefault();
      link.click();
      return;
    }
  }
  const act = ACTS[event.key];
  if (act) {
    event.preventDefault();
    act();
  }
});
