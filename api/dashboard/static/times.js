// Times in the reader's own time zone; the server writes UTC.
const sameDay = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false });
const otherDay = new Intl.DateTimeFormat(undefined, { month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false });

export function localise(within) {
  tick();
  const today = new Date().toDateString();
  for (const element of within.querySelectorAll("time[datetime]")) {
    const at = new Date(element.dateTime);
    if (Number.isNaN(at.valueOf())) continue;
    const text = (at.toDateString() === today ? sameDay : otherDay).format(at);
    if (element.textContent !== text) element.textContent = text;
  }
}

// How long something lasts that has not ended: `data-since` says since when.
export function lasted(milliseconds) {
  const seconds = Math.max(0, Math.round(milliseconds / 1000));
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60), hours = Math.floor(minutes / 60), days = Math.floor(hours / 24);
  const two = (number) => String(number).padStart(2, "0");
  if (minutes < 60) return `${minutes}m ${two(seconds % 60)}s`;
  return hours < 24 ? `${hours}h ${two(minutes % 60)}m` : `${days}d ${two(hours % 24)}h`;
}

export function tick() {
  for (const element of document.querySelectorAll("[data-since]")) {
    const text = lasted(Date.now() - new Date(element.dataset.since));
    if (element.textContent !== text) element.textContent = text;
  }
}
setInterval(tick, 1000);
