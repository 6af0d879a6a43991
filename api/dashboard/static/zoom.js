// Dragging along the scale of a timeline chooses the part of the run that is shown.
let from = null;
const scaleOf = (event) => event.target.closest?.(".spans .scale .track");

function at(track, event) {
  const box = track.getBoundingClientRect();
  return Math.min(Math.max((event.clientX - box.left) / box.width, 0), 1);
}

document.addEventListener("pointerdown", (event) => {
  const track = scaleOf(event);
  if (!track) return;
  from = { track, x: at(track, event), drawn: document.createElementNS("http://www.w3.org/2000/svg", "rect") };
  from.drawn.setAttribute("class", "choice");
  from.drawn.setAttribute("height", "100%");
  track.append(from.drawn);
  event.preventDefault();
});

document.addEventListener("pointermove", (event) => {
  if (!from) return;
  const x = at(from.track, event);
  from.drawn.setAttribute("x", `${Math.min(x, from.x) * 100}%`);
  from.drawn.setAttribute("width", `${Math.abs(x - from.x) * 100}%`);
});

document.addEventListener("pointerup", (event) => {
  if (!from) return;
  const { track, x, drawn } = from, other = at(track, event);
  from = null;
  drawn.remove();
  if (Math.abs(other - x) < 0.01) return;
  const list = track.closest(".spans"), begin = Number(list.dataset.begin), length = Number(list.dataset.end) - begin;
  const [first, last] = [Math.min(x, other), Math.max(x, other)].map((part) => Math.round(begin + part * length));
  if (last <= first) return;
  const address = new URL(location.href);
  address.searchParams.set("zoom", `${first}-${last}`);
  location.assign(address);
});
