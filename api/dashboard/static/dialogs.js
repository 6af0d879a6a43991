// Dialogs are opened by buttons that name them, and fields of JSON are looked at before they are sent.
document.addEventListener("click", (event) => {
  const opener = event.target.closest("[data-opens]");
  if (opener) {
    event.preventDefault();
    const dialog = document.getElementById(opener.dataset.opens);
    for (const field of dialog.querySelectorAll("[data-from]")) fill(field, opener);
    if (!dialog.open) dialog.showModal();
    return;
  }
  if (event.target.closest("[data-closes]")) event.target.closest("dialog, .toast")?.close?.() ?? event.target.closest(".toast")?.remove();
});

// What a button knows goes into the dialog: `data-from="name"` takes the button's `data-name`.
function fill(field, opener) {
  const value = opener.dataset[field.dataset.from] ?? "";
  if (field.matches("form")) field.action = value;
  else if ("value" in field) field.value = value;
  else field.textContent = value;
}

document.addEventListener("submit", (event) => {
  for (const field of event.target.querySelectorAll("textarea[data-json]")) {
    const fault = faultOf(field.value);
    field.setCustomValidity(fault);
    field.setAttribute("aria-invalid", String(fault !== ""));
    if (fault) {
      event.preventDefault();
      field.reportValidity();
      return;
    }
  }
}, true);
document.addEventListener("input", (event) => {
  if (event.target.matches("textarea[data-json]")) {
    event.target.setCustomValidity("");
    event.target.removeAttribute("aria-invalid");
  }
});

function faultOf(text) {
  if (text.trim() === "") return "";
  try {
    JSON.parse(text);
    return "";
  } catch (error) {
    return `This is no JSON: ${error.message}`;
  }
}

setTimeout(() => document.querySelectorAll(".toast:not(.bad)").forEach((toast) => toast.remove()), 6000);
