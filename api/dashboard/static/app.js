// What all pages need. htmx swaps parts of pages; the rest is small and stands in files of its own.
import "./htmx.js";
import "./dialogs.js";
import "./keys.js";
import "./live.js";
import "./picks.js";
import { localise } from "./times.js";

localise(document);
document.addEventListener("htmx:after:settle", () => localise(document));
document.addEventListener("htmx:after:swap", () => localise(document));

// Choosing a filter is asking for it.
document.addEventListener("change", (event) => {
  const form = event.target.closest("form[data-on-change]");
  if (form && event.target.type !== "search") form.requestSubmit();
});

// Empty fields say nothing, and do not belong into the address.
document.addEventListener("formdata", (event) => {
  if (event.target.method !== "get") return;
  for (const [name, value] of [...event.formData]) if (value === "") event.formData.delete(name);
});

document.addEventListener("click", async (event) => {
  const button = event.target.closest("button.copy");
  if (!button) return;
  await copy(button.dataset.copy ?? button.parentElement.querySelector("pre").innerText);
  const said = button.textContent;
  button.textContent = "Copied";
  setTimeout(() => { button.textContent = said; }, 1200);
});

// Browsers have a clipboard only where pages come by HTTPS or from this machine; elsewhere there is the old way.
async function copy(text) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  const field = document.createElement("textarea"), before = document.activeElement;
  field.value = text;
  field.className = "unseen";
  document.body.append(field);
  field.select();
  document.execCommand("copy");
  field.remove();
  before?.focus();
}

const theme = document.querySelector("button[data-theme-switch]");
theme?.addEventListener("click", () => {
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  const now = document.documentElement.dataset.theme ?? (dark ? "dark" : "light");
  const next = now === "dark" ? "light" : "dark";
  document.documentElement.dataset.theme = next;
  localStorage.setItem("theme", next);
});
