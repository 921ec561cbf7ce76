// --- filters ------------------------------------------------------------------------------------------------
// In the order they are applied: what is told apart by colour must see the colours as they were scanned.
const FILTERS = ["organic", "metal", "high", "low", "contrast", "grey", "negative", "edge"];
const EXCLUSIVE = [["organic", "metal"], ["high", "low"]];
const NOTES = {
  organic: "Told apart by the picture's colour alone: the scanner's energies are not in this picture. Organic matter under metal is not shown.",
  metal: "Told apart by the picture's colour alone: the scanner's energies are not in this picture. Thick organic matter may show as metal.",
  high: "Brightens what is dark in the picture. What the scanner left black stays black.",
  low: "Darkens what is light in the picture. What the scanner left white stays white.",
};
const filtered = new Set();
// Each viewer has filters of its own: those of one that is not on the screen would do nothing.
const number = (desk.viewers = (desk.viewers || 0) + 1);
for (const node of svg.querySelectorAll("filter")) node.id = `${node.id}-${number}`;

function showFilters() {
  const css = FILTERS.filter(name => filtered.has(name)).map(name => `url(#xf-${name}-${number})`).join(" ") || "none";
  picture.style.filter = css;
  for (const image of views.querySelectorAll("image")) image.style.filter = css;
  for (const button of element.querySelectorAll("[data-filter]")) {
    const name = button.dataset.filter;
    button.setAttribute("aria-pressed", String(name === "plain" ? !filtered.size : filtered.has(name)));
  }
  const note = one(".viewer-note");
  note.textContent = Object.keys(NOTES).filter(name => filtered.has(name)).map(name => NOTES[name])[0] || "";
  note.hidden = !note.textContent;
}
function apply(name) {
  const on = filtered.has(name);
  if (name === "plain") filtered.clear();
  else if (on) filtered.delete(name);
  else {
    for (const pair of EXCLUSIVE) if (pair.includes(name)) pair.forEach(other => filtered.delete(other));
    filtered.add(name);
  }
  showFilters();
}

// --- the other keys -----------------------------------------------------------------------------------------
function remove() { const id = selected; if (boxOf(id)) { selected = null; desk.edit(now => { now.boxes = now.boxes.filter(box => box.id !== id); }); } }
/** Arrows: the box that is being placed, the chosen one, or the picture. */
function nudge(dx, dy) {
  return event => {
    const step = event.shiftKey ? 10 : 1, box = boxOf(selected);
    if (proposed) { proposed.xyxy = shifted(proposed.xyxy, dx * step, dy * step); draw(); }
    else if (box) place(box.id, shifted(box.xyxy, dx * step, dy * step));
    else if (work()) { view.x += dx * view.w * 0.08; view.y += dy * view.h * 0.08; keepInSight(work().scan.width, work().scan.height); draw(); }
  };
}
/** Ctrl arrows: the right and the lower side; with the arrows, any box can be made. */
function grow(dx, dy) {
  return event => {
    const step = event.shiftKey ? 10 : 1, box = boxOf(selected);
    if (proposed) { proposed.xyxy = stretched(proposed.xyxy, "se", dx * step, dy * step); draw(); }
    else if (box) place(box.id, stretched(box.xyxy, "se", dx * step, dy * step));
  };
}
function cycle(by) {
  if (!work()) return;
  const order = doubtful(), index = order.findIndex(box => box.id === selected), count = order.length;
  if (!count) return;
  selected = order[index < 0 ? (by > 0 ? 0 : count - 1) : (index + by + count) % count].id;
  draw();
}
function arm(on) { arming = on; stage.classList.toggle("arming", on); }
/** D, Enter: a box in the middle of what is seen, to be moved and sized by keys. */
function placeByKey() {
  if (!work() || work().readonly) return;
  const { width, height } = work().scan, left = Math.max(0, view.x), top = Math.max(0, view.y);
  const right = Math.min(width, view.x + view.w), bottom = Math.min(height, view.y + view.h);
  const w = (right - left) / 4, h = (bottom - top) / 4, x = (left + right) / 2, y = (top + bottom) / 2;
  arm(false);
  selected = null;
  proposed = unnamed(rounded([x - w / 2, y - h / 2, x + w / 2, y + h / 2]));
  draw();
}
function enter() {
  if (proposed) { proposed.xyxy = rounded(proposed.xyxy); openRelabel(); }
  else if (arming) placeByKey();
  else openRelabel();
}
function letGo() { selected = null; proposed = null; arm(false); draw(); }
const acts = {
  fit, in: () => zoom(1.3), out: () => zoom(1 / 1.3), draw: () => arm(!arming), boxes: () => { hidden = !hidden; draw(); },
  ghosts: () => { ghosts = !ghosts; draw(); }, undo: () => desk.undo(), redo: () => desk.redo(), help: () => desk.help(), report: () => work() && desk.report(work().analysis_id),
};
const filterKeys = { b: ["grey", "black and white"], n: ["negative", "negative"], o: ["organic", "organic only, by colour"], m: ["metal", "metal only, by colour"], h: ["high", "high penetration: see into dense parts"], l: ["low", "low penetration: see thin parts"], t: ["contrast", "stronger contrast"], e: ["edge", "edge enhancement"], r: ["plain", "picture as scanned"] };
for (const [key, [name, help]] of Object.entries(filterKeys)) mine.actions[key] = { run: () => apply(name), help, group: "Filters" };
Object.assign(mine.actions, {
  "d": { run: acts.draw, help: "draw a box: drag, or Enter to place one by keys", group: "Boxes" },
  "Enter": { run: enter, help: "relabel the box, or the one in most doubt", group: "Boxes" },
  "Delete": { run: remove, help: "delete the box", group: "Boxes" }, "Backspace": { run: remove },
  ".": { run: () => cycle(1), help: "next box, the doubtful ones first", group: "Boxes" }, ",": { run: () => cycle(-1), help: "previous box", group: "Boxes" },
  "ArrowLeft": { run: nudge(-1, 0), once: false, shown: "arrows", help: "move box or picture (Shift: further)", group: "Boxes" },
  "ArrowRight": { run: nudge(1, 0), once: false }, "ArrowUp": { run: nudge(0, -1), once: false }, "ArrowDown": { run: nudge(0, 1), once: false },
  "Ctrl+ArrowRight": { run: grow(1, 0), once: false, shown: "Ctrl arrows", help: "size the box (Shift: further)", group: "Boxes" },
  "Ctrl+ArrowLeft": { run: grow(-1, 0), once: false }, "Ctrl+ArrowUp": { run: grow(0, -1), once: false }, "Ctrl+ArrowDown": { run: grow(0, 1), once: false },
  "+": { run: acts.in, once: false, help: "zoom in", group: "Picture" }, "=": { run: acts.in, once: false }, "-": { run: acts.out, once: false, help: "zoom out", group: "Picture" },
  "0": { run: fit, help: "whole picture", group: "Picture" }, "x": { run: acts.boxes, help: "hide or show the boxes", group: "Picture" },
  "]": { run: () => showFrom(threshold + 0.05), once: false, help: "show surer boxes only", group: "Picture" },
  "[": { run: () => showFrom(threshold - 0.05), once: false, help: "show less sure boxes too", group: "Picture" },
  "v": { run: nextView, help: "next view of the bag", group: "Picture" },
  "p": { run: acts.ghosts, help: "show the prediction under the correction", group: "Picture" },
  "Escape": { run: letGo, help: "let go of the box", group: "Boxes" },
});
element.addEventListener("click", event => {
  const button = event.target.closest(".toolbar button");
  if (!button) return;
  if (button.dataset.filter) apply(button.dataset.filter);
  if (button.dataset.act) acts[button.dataset.act]();
  button.blur();
});
document.addEventListener("keydown", event => {
  if (event.code !== "Space" || (document.activeElement !== svg && !stage.matches(":hover"))) return;
  if (event.target !== svg && event.target.matches("input, textarea, button, a, summary, select, [role], [contenteditable=true]")) return;  // it has a use for the key
  event.preventDefault();
  spaced = true;
});
document.addEventListener("keyup", event => { if (event.code === "Space") spaced = false; });

// --- coming and going ---------------------------------------------------------------------------------------
let shown = null;
/** Shows what the slider or X hides; how many boxes that were. */
mine.revealBoxes = () => {
  const count = work() ? work().boxes.length - (hidden ? 0 : shownBoxes().length) : 0;
  if (count) { hidden = false; showFrom(0); }
  return count;
};
desk.subscribe(what => {
  if (desk.owner !== mine) return;
  const now = work();
  if (what === "load" && now) {
    if (shown !== now.analysis_id) {
      closeRelabel(false);
      shown = now.analysis_id; selected = null; drag = null; hidden = false; threshold = desk.threshold = 0;
      arm(false);
      loadPicture(now.scan);
      apply("plain");
      fit();
    }
    else if (mine.picture !== "loading" && mine.picture !== "loaded") { loadPicture(now.scan); showFilters(); }
    else desk.pictureIs(mine.picture);
    if (!boxOf(selected)) selected = null;
  }
  if (what === "load" && !now) shown = null;
  draw();
  // Gradio's copy is what the server gets with the next event.
  if (now && (what === "load" || what === "edit")) props.value = JSON.parse(JSON.stringify(now));
});
function takeUp() {
  mine.loaded = props.value ? JSON.parse(JSON.stringify(props.value)) : null;
  // Also behind another tab: Search opens a scan before it shows Analyse.
  if (svg.clientWidth || !desk.owner || desk.owner === mine) show();
}
function show() {
  desk.load(mine.loaded, mine);
  if (mine.loaded) mine.loaded.discard_draft = false;  // done: what is edited from now on comes back
}
watch("value", takeUp);
// Back on the screen, after another viewer held the work: its unsaved edits come back from the draft.
new ResizeObserver(() => {
  if (svg.clientWidth && desk.owner !== mine) show();
  draw();
}).observe(stage);
showFilters();
takeUp();
