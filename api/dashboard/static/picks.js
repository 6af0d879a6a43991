// Choosing rows of a list: the bar above the list says how many, and its buttons act on them.
function count(list) {
  const boxes = [...list.querySelectorAll("tbody input[type=checkbox]")];
  const chosen = boxes.filter((box) => box.checked);
  const bar = document.querySelector(".picked");
  if (bar) {
    bar.hidden = chosen.length === 0;
    bar.querySelector("[data-count]").textContent = chosen.length;
  }
  const all = list.querySelector("thead input[type=checkbox]");
  if (all) {
    all.checked = boxes.length > 0 && chosen.length === boxes.length;
    all.indeterminate = chosen.length > 0 && chosen.length < boxes.length;
  }
}

document.addEventListener("change", (event) => {
  const list = event.target.closest("[data-list]");
  if (!list || event.target.type !== "checkbox") return;
  if (event.target.closest("thead")) {
    for (const box of list.querySelectorAll("tbody input[type=checkbox]")) box.checked = event.target.checked;
  }
  count(list);
});

document.addEventListener("click", (event) => {
  if (!event.target.closest("[data-unpick]")) return;
  for (const list of document.querySelectorAll("[data-list]")) {
    for (const box of list.querySelectorAll("input[type=checkbox]")) box.checked = false;
    count(list);
  }
});

document.addEventListener("htmx:after:swap", () => document.querySelectorAll("[data-list]").forEach(count));
