// The picture and its boxes: draw, move, resize, relabel, delete, filter, zoom. Runs inside gr.HTML, which
// gives `element`, `props` and `watch`. Scan and boxes with ids come in as props.value; the same value with
// edited boxes goes out. Every text that is not ours is set by textContent.
const desk = window.xrayDesk.of(element);
const NS = "http://www.w3.org/2000/svg";
const one = selector => element.querySelector(selector);
const stage = one(".stage"), svg = one("svg.scan"), picture = svg.querySelector("image"), layer = svg.querySelector(".boxes");
const relabel = one(".relabel"), typed = relabel.querySelector("input"), choices = relabel.querySelector("ul");
const line = one(".viewer-line"), empty = one(".viewer-empty"), broken = one(".viewer-broken");
let view = { x: 0, y: 0, w: 1, h: 1 }, selected = null, drag = null, arming = false, spaced = false, hidden = false, lastLabel = null, ghosts = false;
let proposed = null; // a box that was drawn and waits for its name
let colour = null, penetration = null, edges = false;

const work = () => desk.work;
const boxOf = id => work() && work().boxes.find(box => box.id === id);
const area = box => (box.xyxy[2] - box.xyxy[0]) * (box.xyxy[3] - box.xyxy[1]);
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

// --- drawing ----------------------------------------------------------------------------------------------
function draw() {
  const now = work();
  element.classList.toggle("no-scan", !now);
  empty.hidden = Boolean(now);
  if (!now) { layer.replaceChildren(); picture.removeAttribute("href"); line.textContent = ""; return; }
  svg.setAttribute("viewBox", `${view.x} ${view.y} ${view.w} ${view.h}`);
  const unit = 1 / scale();
  const nodes = [];
  const boxes = now.boxes.map(box => (drag && drag.box && drag.box.id === box.id ? drag.box : box));
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
  if (ghosts) parts.push(now.base_revision ? "prediction shown" : "not corrected yet");
  if (chosen) parts.push(`${chosen.label}: ${chosen.xyxy.map(Math.round).join(", ")}`);
  line.textContent = parts.join("   ·   ");
  one(".unsaved").hidden = !desk.dirty();
}
function boxNode(box, unit) {
  const [x0, y0, x1, y1] = box.xyxy, frame = { x: x0, y: y0, width: x1 - x0, height: y1 - y0 };
  const lit = desk.hovered === box.label, chosen = box.id === selected;
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
  const words = (box.threat ? "▲ " : "") + box.label + (box.confidence == null ? "" : ` ${Math.round(box.confidence * 100)} %`) + (box.source === "human" ? " ✎" : "");
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

// --- mouse, pen, touch ------------------------------------------------------------------------------------
svg.addEventListener("pointerdown", event => {
  if (!work()) return;
  closeRelabel(false);
  const at = point(event);
  if (event.button === 1 || spaced || event.shiftKey) { drag = { kind: "pan", from: [event.clientX, event.clientY], view: { ...view } }; }
  else if (event.button !== 0) return;
  else {
    const target = event.target.closest("[data-id]"), handle = event.target.dataset.handle, box = target && boxOf(target.dataset.id);
    if (handle && box) drag = { kind: "resize", handle, at, from: box, box: { ...box } };
    else if (box && !arming) { selected = box.id; drag = { kind: "move", at, from: box, box: { ...box } }; }
    else drag = { kind: "draw", at: inside(at), box: null };
    if (work().readonly) drag = null;
  }
  svg.setPointerCapture(event.pointerId);
  svg.focus({ preventScroll: true });
  event.preventDefault();
  draw();
});
svg.addEventListener("pointermove", event => {
  if (!drag) {
    const target = event.target.closest && event.target.closest("[data-id]"), box = target && boxOf(target.dataset.id);
    desk.hover(box ? box.label : null);
    return;
  }
  if (drag.kind === "pan") {
    const per = 1 / scale();
    view = { ...view, x: drag.view.x - (event.clientX - drag.from[0]) * per, y: drag.view.y - (event.clientY - drag.from[1]) * per };
    keepInSight(work().scan.width, work().scan.height);
  } else if (drag.kind === "draw") {
    const [x, y] = inside(point(event)), [ax, ay] = drag.at;
    drag.box = unnamed([Math.min(ax, x), Math.min(ay, y), Math.max(ax, x), Math.max(ay, y)]);
  } else {
    const at = point(event), dx = at[0] - drag.at[0], dy = at[1] - drag.at[1];
    drag.box.xyxy = drag.kind === "move" ? shifted(drag.from.xyxy, dx, dy) : stretched(drag.from.xyxy, drag.handle, dx, dy);
  }
  draw();
});
svg.addEventListener("pointerup", event => {
  const done = drag;
  drag = null;
  if (!done || done.kind === "pan") { draw(); return; }
  if (done.kind === "draw") {
    const far = done.box && Math.min(done.box.xyxy[2] - done.box.xyxy[0], done.box.xyxy[3] - done.box.xyxy[1]) * scale() >= 4;
    if (far) { arming = false; stage.classList.remove("arming"); propose(rounded(done.box.xyxy)); return; }
    // A click: the smallest box under the pointer, or none.
    const [x, y] = point(event);
    const under = work().boxes.filter(({ xyxy: [x0, y0, x1, y1] }) => x >= x0 && x <= x1 && y >= y0 && y <= y1).sort((a, b) => area(a) - area(b));
    selected = under.length ? under[0].id : null;
  } else place(done.from.id, done.box.xyxy);
  draw();
});
svg.addEventListener("pointercancel", () => { drag = null; draw(); });
svg.addEventListener("pointerleave", () => { if (!drag) desk.hover(null); });
svg.addEventListener("dblclick", () => { if (boxOf(selected)) openRelabel(); });
svg.addEventListener("wheel", event => { event.preventDefault(); zoom(Math.exp(-event.deltaY * 0.0015), point(event)); }, { passive: false });

const unnamed = xyxy => ({ id: "drawing", source: "human", label: "", confidence: null, status: "drawing", threat: false, xyxy });
const rounded = xyxy => {
  const [x0, y0, x1, y1] = xyxy.map(value => Math.round(value * 10) / 10);
  return [x0, y0, x1, y1];
};
function shifted([x0, y0, x1, y1], dx, dy) {
  const { width, height } = work().scan;
  dx = clamp(dx, -x0, width - x1); dy = clamp(dy, -y0, height - y1);
  return [x0 + dx, y0 + dy, x1 + dx, y1 + dy];
}
function stretched(xyxy, handle, dx, dy) {
  const { width, height } = work().scan, out = [...xyxy], least = 2;
  if (handle.includes("w")) out[0] = clamp(out[0] + dx, 0, out[2] - least);
  if (handle.includes("e")) out[2] = clamp(out[2] + dx, out[0] + least, width);
  if (handle.includes("n")) out[1] = clamp(out[1] + dy, 0, out[3] - least);
  if (handle.includes("s")) out[3] = clamp(out[3] + dy, out[1] + least, height);
  return out;
}
function place(id, xyxy) {
  const target = rounded(xyxy);
  desk.edit(now => {
    const box = now.boxes.find(other => other.id === id);
    if (box && JSON.stringify(rounded(box.xyxy)) !== JSON.stringify(target)) Object.assign(box, { xyxy: target, source: "human", confidence: null });
  });
}

// --- labels: type a few letters, Enter ----------------------------------------------------------------------
let active = 0;
function propose(xyxy) {
  proposed = unnamed(xyxy);
  draw();
  openRelabel();
}
function openRelabel() {
  const box = proposed || boxOf(selected);
  if (!box || work().readonly) return;
  const matrix = svg.getScreenCTM(), frame = stage.getBoundingClientRect();
  const at = new DOMPoint(box.xyxy[0], box.xyxy[3]).matrixTransform(matrix);
  relabel.hidden = false;
  relabel.style.left = `${clamp(at.x - frame.left, 4, Math.max(4, frame.width - 234))}px`;
  relabel.style.top = `${clamp(at.y - frame.top + 6, 4, Math.max(4, frame.height - 270))}px`;
  typed.value = proposed ? "" : box.label;
  typed.select();
  suggest();
  typed.focus({ preventScroll: true });
}
function matches() {
  const words = typed.value.trim().toLowerCase().replace(/[-_]/g, " "), labels = work().labels;
  const current = boxOf(selected);
  if (!words || (!proposed && current && words === current.label.toLowerCase())) {
    const first = lastLabel && labels.find(entry => entry.name === lastLabel);
    return first ? [first, ...labels.filter(entry => entry !== first)] : labels;
  }
  const rank = entry => {
    const names = [entry.name, ...entry.aliases].map(name => name.toLowerCase());
    if (names.some(name => name === words)) return 0;
    if (names.some(name => name.startsWith(words))) return 1;
    if (names.some(name => name.split(/[ -]/).some(part => part.startsWith(words)))) return 2;
    return names.some(name => name.includes(words)) ? 3 : 9;
  };
  return labels.map(entry => [rank(entry), entry]).filter(([order]) => order < 9).sort((a, b) => a[0] - b[0]).map(([, entry]) => entry);
}
function suggest() {
  const found = matches().slice(0, 40);
  active = clamp(active, 0, Math.max(0, found.length - 1));
  choices.replaceChildren(...found.map((entry, index) => {
    const row = document.createElement("li");
    row.textContent = entry.name;
    row.className = entry.status + (index === active ? " active" : "");
    row.setAttribute("role", "option");
    row.setAttribute("aria-selected", String(index === active));
    row.addEventListener("pointerdown", event => { event.preventDefault(); take(entry); });
    return row;
  }));
  if (!found.length) {
    const none = document.createElement("li");
    none.className = "none";
    none.textContent = "No such class in this site's taxonomy.";
    choices.append(none);
  }
  const row = choices.children[active];
  if (row && (row.offsetTop < choices.scrollTop || row.offsetTop + row.offsetHeight > choices.scrollTop + choices.clientHeight)) choices.scrollTop = row.offsetTop - 60;
}
function take(entry) {
  lastLabel = entry.name;
  const fields = { label: entry.name, status: entry.status, threat: entry.status === "prohibited", source: "human", confidence: null };
  if (proposed) {
    const box = { id: freshId(), xyxy: proposed.xyxy, ...fields };
    proposed = null; selected = box.id;
    desk.edit(now => now.boxes.push(box));
  } else {
    const id = selected;
    desk.edit(now => { const box = now.boxes.find(other => other.id === id); if (box && box.label !== entry.name) Object.assign(box, fields); });
  }
  closeRelabel(true);
}
function closeRelabel(refocus) {
  const open = !relabel.hidden;
  relabel.hidden = true;
  active = 0;
  proposed = null;
  if (open) { draw(); if (refocus) svg.focus({ preventScroll: true }); }
}
typed.addEventListener("input", () => { active = 0; suggest(); });
typed.addEventListener("keydown", event => {
  if (event.key === "ArrowDown" || event.key === "ArrowUp") { event.preventDefault(); active += event.key === "ArrowDown" ? 1 : -1; suggest(); }
  else if (event.key === "Enter") { event.preventDefault(); const found = matches()[active]; if (found) take(found); }
  else if (event.key === "Escape") { event.preventDefault(); closeRelabel(true); }
  event.stopPropagation();
});
typed.addEventListener("blur", () => setTimeout(() => { if (document.activeElement !== typed) closeRelabel(false); }, 150));

// --- filters and the other keys -----------------------------------------------------------------------------
// Every viewer of the page has filters of its own: an address such as #xf-grey means the first of that name.
const own = `-${crypto.getRandomValues(new Uint32Array(1))[0]}`;
for (const node of svg.querySelectorAll("filter")) node.id += own;
function filter() {
  const names = [penetration, colour, edges && "edge"].filter(Boolean);
  picture.style.filter = names.map(name => `url(#xf-${name}${own})`).join(" ") || "none";
  for (const button of element.querySelectorAll("[data-filter]")) {
    const name = button.dataset.filter;
    button.setAttribute("aria-pressed", String(name === colour || name === penetration || (name === "edge" && edges) || (name === "plain" && !names.length)));
  }
}
function apply(name) {
  if (name === "plain") { colour = penetration = null; edges = false; }
  else if (name === "edge") edges = !edges;
  else if (name === "high" || name === "low") penetration = penetration === name ? null : name;
  else colour = colour === name ? null : name;
  filter();
}
function remove() { const id = selected; if (boxOf(id)) { selected = null; desk.edit(now => { now.boxes = now.boxes.filter(box => box.id !== id); }); } }
function nudge(dx, dy) {
  return event => {
    const box = boxOf(selected), step = event.shiftKey ? 10 : 1;
    if (box) place(box.id, shifted(box.xyxy, dx * step, dy * step));
    else if (work()) { view.x += dx * view.w * 0.08; view.y += dy * view.h * 0.08; keepInSight(work().scan.width, work().scan.height); draw(); }
  };
}
function cycle(by) {
  if (!work() || !work().boxes.length) return;
  const index = work().boxes.findIndex(box => box.id === selected), count = work().boxes.length;
  selected = work().boxes[index < 0 ? (by > 0 ? 0 : count - 1) : (index + by + count) % count].id;
  draw();
}
function act(name) {
  if (name === "fit") fit();
  else if (name === "in") zoom(1.3);
  else if (name === "out") zoom(1 / 1.3);
  else if (name === "draw") { arming = !arming; stage.classList.toggle("arming", arming); }
  else if (name === "boxes") { hidden = !hidden; draw(); }
  else if (name === "ghosts") { ghosts = !ghosts; draw(); }
  else if (name === "undo") desk.undo();
  else if (name === "redo") desk.redo();
  else if (name === "delete") remove();
  else if (name === "label") openRelabel();
  else if (name === "help") window.xrayDesk.help();
}
const filters = { b: ["grey", "black and white"], n: ["negative", "negative"], o: ["organic", "organic only"], m: ["metal", "metal only"], h: ["high", "high penetration: see into dense parts"], l: ["low", "low penetration: see thin parts"], e: ["edge", "edge enhancement"], r: ["plain", "picture as scanned"] };
for (const [key, [name, help]] of Object.entries(filters)) desk.actions[key] = { run: () => apply(name), help, group: "Filters" };
Object.assign(desk.actions, {
  "d": { run: () => act("draw"), help: "draw a box, also on top of another", group: "Boxes" },
  "Enter": { run: () => act("label"), help: "relabel the box", group: "Boxes" },
  "Delete": { run: remove, help: "delete the box", group: "Boxes" }, "Backspace": { run: remove },
  ".": { run: () => cycle(1), help: "next box", group: "Boxes" }, ",": { run: () => cycle(-1), help: "previous box", group: "Boxes" },
  "ArrowLeft": { run: nudge(-1, 0), once: false, shown: "arrows", help: "move box or picture (Shift: further)", group: "Boxes" },
  "ArrowRight": { run: nudge(1, 0), once: false }, "ArrowUp": { run: nudge(0, -1), once: false }, "ArrowDown": { run: nudge(0, 1), once: false },
  "+": { run: () => zoom(1.3), once: false, help: "zoom in", group: "Picture" }, "=": { run: () => zoom(1.3), once: false }, "-": { run: () => zoom(1 / 1.3), once: false, help: "zoom out", group: "Picture" },
  "0": { run: fit, help: "whole picture", group: "Picture" }, "x": { run: () => act("boxes"), help: "hide or show the boxes", group: "Picture" },
  "p": { run: () => act("ghosts"), help: "show the prediction under the correction", group: "Picture" },
  "Escape": { run: () => { selected = null; arming = false; stage.classList.remove("arming"); draw(); }, help: "let go of the box", group: "Boxes" },
});
element.addEventListener("click", event => {
  const button = event.target.closest("button");
  if (!button) return;
  if (button.dataset.filter) apply(button.dataset.filter);
  if (button.dataset.act) act(button.dataset.act);
  button.blur();
});
document.addEventListener("keydown", event => { if (event.code === "Space" && (document.activeElement === svg || stage.matches(":hover"))) { if (!event.target.closest("input, textarea")) event.preventDefault(); spaced = true; } });
document.addEventListener("keyup", event => { if (event.code === "Space") spaced = false; });

// --- coming and going -----------------------------------------------------------------------------------------
let shown = null;
picture.addEventListener("error", () => { if (work()) broken.hidden = false; });
picture.addEventListener("load", () => { broken.hidden = true; });
desk.subscribe(what => {
  const now = work();
  if (what === "load" && now) {
    if (shown !== now.scan.id) {
      closeRelabel(false);
      shown = now.scan.id; selected = null; hidden = false; arming = false; broken.hidden = true;
      for (const [key, value] of Object.entries({ width: now.scan.width, height: now.scan.height, href: `../v1/scans/${encodeURIComponent(now.scan.id)}/image` })) picture.setAttribute(key, value);
      apply("plain");
      fit();
    }
    if (!boxOf(selected)) selected = null;
  }
  if (what === "load" && !now) shown = null;
  draw();
  // Gradio's copy is what the server gets with the next event.
  if (now && what !== "hover") props.value = JSON.parse(JSON.stringify(now));
});
watch("value", () => desk.load(props.value));
new ResizeObserver(draw).observe(stage);
filter();
desk.load(props.value);
