// The picture and its boxes: draw, move, resize, relabel, delete, filter, zoom. Runs inside gr.HTML, which
// gives `element`, `props` and `watch`. Scan and boxes with ids come in as props.value; the same value with
// edited boxes goes out. Every text that is not ours is set by textContent.
const desk = window.xrayDesk;
const NS = "http://www.w3.org/2000/svg";
const one = selector => element.querySelector(selector);
const stage = one(".stage"), svg = one("svg.scan"), layer = svg.querySelector(".boxes");
const relabel = one(".relabel"), typed = relabel.querySelector("input"), choices = relabel.querySelector("ul");
const line = one(".viewer-line"), slider = one(".threshold input"), hiddenCount = one(".threshold output"), empty = one(".viewer-empty"), broken = one(".viewer-broken"), loading = one(".viewer-loading");
let view = { x: 0, y: 0, w: 1, h: 1 }, selected = null, drag = null, arming = false, spaced = false, hidden = false, lastLabel = null, ghosts = false;
let picture = svg.querySelector("image");
let proposed = null; // a box that was drawn and waits for its name
let threshold = 0;   // model boxes below this confidence are not shown
// Of several viewers on a page, the one on the screen holds the work and gets the keys.
const mine = { element, actions: {}, loaded: null, picture: null };

const work = () => (desk.owner === mine ? desk.work : null);
const boxOf = id => work() && work().boxes.find(box => box.id === id);
const area = box => (box.xyxy[2] - box.xyxy[0]) * (box.xyxy[3] - box.xyxy[1]);
const shownBox = box => box.source === "human" || box.confidence == null || box.confidence >= threshold;
const shownBoxes = () => work().boxes.filter(shownBox);
const alone = label => Boolean(work().agreement) && work().agreement.detector_only.includes(label);
const clamp = (value, low, high) => Math.min(high, Math.max(low, value));
// The server takes an id that starts with "new-" for none: it names the box.
const freshId = () => "new-" + crypto.getRandomValues(new Uint32Array(2)).join("-");
const shape = (name, attributes) => {
  const node = document.createElementNS(NS, name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  return node;
};

// --- view: zoom and pan -----------------------------------------------------------------------------------
const scale = () => Math.min(svg.clientWidth / view.w, svg.clientHeight / view.h) || 1;
function fit() { if (work()) { view = { x: 0, y: 0, w: work().scan.width, h: work().scan.height }; draw(); } }
function zoom(factor, centre) {
  if (!work()) return;
  const { width, height } = work().scan;
  const w = clamp(view.w / factor, Math.min(width, 16), width * 1.6);
  const ratio = w / view.w;
  const [cx, cy] = centre || [view.x + view.w / 2, view.y + view.h / 2];
  view = { x: cx - (cx - view.x) * ratio, y: cy - (cy - view.y) * ratio, w, h: view.h * ratio };
  keepInSight(width, height);
  draw();
}
function keepInSight(width, height) {
  view.x = clamp(view.x, -view.w * 0.8, width - view.w * 0.2);
  view.y = clamp(view.y, -view.h * 0.8, height - view.h * 0.2);
}
function point(event) {
  const matrix = svg.getScreenCTM();
  if (!matrix) return [0, 0];
  const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(matrix.inverse());
  return [at.x, at.y];
}
const inside = ([x, y]) => [clamp(x, 0, work().scan.width), clamp(y, 0, work().scan.height)];

// --- the picture --------------------------------------------------------------------------------------------
/** A new element for each scan: the browser would keep the old picture in place until the new one is there. */
function loadPicture({ id, width, height }) {
  const fresh = shape("image", { width, height, preserveAspectRatio: "none", visibility: "hidden" });
  fresh.addEventListener("load", () => { if (fresh === picture && mine.picture) { fresh.removeAttribute("visibility"); pictureIs("loaded"); } });
  fresh.addEventListener("error", () => { if (fresh === picture && mine.picture) pictureIs("broken"); });
  picture.replaceWith(fresh);
  picture = fresh;
  pictureIs("loading");
  fresh.setAttribute("href", `../v1/scans/${encodeURIComponent(id)}/image`);
}
function pictureIs(state) {
  mine.picture = state;
  loading.hidden = state !== "loading";
  broken.hidden = state !== "broken";
  if (state && work()) desk.pictureIs(state);
}

// --- drawing ----------------------------------------------------------------------------------------------
function draw() {
  const now = work();
  element.classList.toggle("no-scan", !now);
  empty.hidden = Boolean(now);
  if (!now) { layer.replaceChildren(); picture.removeAttribute("href"); pictureIs(null); line.textContent = ""; return; }
  svg.setAttribute("viewBox", `${view.x} ${view.y} ${view.w} ${view.h}`);
  const unit = 1 / scale();
  const nodes = [];
  const boxes = shownBoxes().map(box => (drag && drag.box && drag.box.id === box.id ? drag.box : box));
  if (drag && drag.kind === "draw" && drag.box) boxes.push(drag.box);
  if (proposed) boxes.push(proposed);
  // Small boxes last, so that a knife on a laptop can be picked.
  const sorted = [...boxes].sort((a, b) => area(b) - area(a));
  for (const box of sorted) nodes.push(boxNode(box, unit));
  // Labels over all frames; the chosen one finds its place first.
  const taken = [], named = [...sorted].sort((a, b) => Number(a.id === selected) - Number(b.id === selected)).reverse();
  nodes.push(...named.filter(box => box.label).map(box => labelNode(box, unit, taken)).reverse());
  if (ghosts) for (const box of now.predicted || []) nodes.unshift(ghostNode(box, unit));
  layer.replaceChildren(...nodes);
  layer.style.display = hidden ? "none" : "";
  const chosen = boxOf(selected);
  const parts = [`${now.scan.filename} · ${now.scan.width}×${now.scan.height}`, desk.plural(now.boxes.length, "box").replace("boxs", "boxes"), `${Math.round(scale() * 100)} %`];
  if (hidden) parts.push("boxes hidden");
  if (proposed && relabel.hidden) parts.push("arrows move it, Ctrl arrows size it, Enter names it");
  if (ghosts) parts.push(now.base_revision ? "prediction shown" : "not corrected yet");
  if (chosen) parts.push(`${chosen.label}: ${chosen.xyxy.map(Math.round).join(", ")}`);
  line.textContent = parts.join("   ·   ");
  one(".unsaved").hidden = !desk.dirty();
  const below = now.boxes.length - shownBoxes().length;
  slider.value = Math.round(threshold * 100);
  hiddenCount.textContent = threshold ? `${Math.round(threshold * 100)} %${below ? `, ${below} hidden` : ""}` : "all";
  drawViews();
  tellChosen();
}
function boxNode(box, unit) {
  const [x0, y0, x1, y1] = box.xyxy, frame = { x: x0, y: y0, width: x1 - x0, height: y1 - y0 };
  const lit = desk.hovered === box.label || desk.hovered === box.id, chosen = box.id === selected;
  const node = shape("g", { class: `box frame ${box.status} ${box.source}${chosen ? " chosen" : ""}${lit ? " lit" : ""}`, "data-id": box.id });
  node.append(shape("rect", { ...frame, class: "halo" }), shape("rect", { ...frame, class: "line" }), shape("rect", { ...frame, class: "hit" }));
  if (chosen && !work().readonly) {
    const side = 8 * unit;
    for (const [name, hx, hy] of handles(box.xyxy)) node.append(shape("rect", { x: hx - side / 2, y: hy - side / 2, width: side, height: side, class: "handle", "data-handle": name, style: `cursor:${name}-resize` }));
  }
  return node;
}
/** A box's name beside it, where it hides no other name if it can. */
function labelNode(box, unit, taken) {
  const [x0, y0, , y1] = box.xyxy;
  const words = (box.threat ? "▲ " : "") + (box.source === "model" && alone(box.label) ? "≠ " : "") + box.label + (box.confidence == null ? "" : ` ${Math.round(box.confidence * 100)} %`) + (box.source === "human" ? " ✎" : "");
  const high = 17 * unit, wide = (words.length * 7.1 + 10) * unit;
  const left = clamp(x0, view.x, Math.max(view.x, view.x + view.w - wide));
  const free = top => top >= view.y && top + high <= view.y + view.h && !taken.some(other => left < other.left + other.wide && other.left < left + wide && top < other.top + high && other.top < top + high);
  const top = [y0 - high, y1, y0, y1 - high, y0 - 2 * high, y1 + high].find(free) ?? Math.max(view.y, y0 - high);
  taken.push({ left, top, wide });
  const node = shape("g", { class: `box ${box.status}`, "data-id": box.id });
  const text = shape("text", { x: left + 5 * unit, y: top + 12.5 * unit, "font-size": 12 * unit });
  text.textContent = words;
  node.append(shape("rect", { x: left, y: top, width: wide, height: high, class: "plate" }), text);
  return node;
}
/** A box as the detector drew it, under the corrected ones. */
function ghostNode(box, unit) {
  const [x0, y0, x1, y1] = box.xyxy, node = shape("g", { class: "ghost" });
  const text = shape("text", { x: x0 + 3 * unit, y: y1 - 4 * unit, "font-size": 11 * unit });
  text.textContent = `predicted: ${box.label}`;
  node.append(shape("rect", { x: x0, y: y0, width: x1 - x0, height: y1 - y0 }), text);
  return node;
}
function handles([x0, y0, x1, y1]) {
  const mx = (x0 + x1) / 2, my = (y0 + y1) / 2;
  return [["nw", x0, y0], ["n", mx, y0], ["ne", x1, y0], ["e", x1, my], ["se", x1, y1], ["s", mx, y1], ["sw", x0, y1], ["w", x0, my]];
}
