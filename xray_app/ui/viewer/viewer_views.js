// --- the other views of the bag, side by side with the one at hand ------------------------------------------
const views = one(".views");
let drawnViews = "";
function drawViews() {
  const found = work() ? work().views || [] : [];
  const key = found.map(other => other.analysis_id).join(" ");
  if (key !== drawnViews) {
    drawnViews = key;
    views.hidden = !found.length;
    views.replaceChildren(...found.map(viewNode));
    showFilters();
  }
}
function viewNode(other) {
  const { width, height, id } = other.scan, unit = Math.max(width, height) / 320;
  const frame = document.createElement("button"), title = document.createElement("span"), level = document.createElement("b"), name = document.createElement("span");
  frame.type = "button";
  frame.className = `view ${other.level.toLowerCase()}`;
  frame.dataset.view = other.analysis_id;
  frame.title = "open this view (V: the next one)";
  level.textContent = other.level;
  name.textContent = other.name;
  title.className = "view-title";
  title.append(level, name);
  const drawing = shape("svg", { viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "xMidYMid meet" });
  const image = shape("image", { width, height, preserveAspectRatio: "none", href: `../v1/scans/${encodeURIComponent(id)}/image` });
  drawing.append(image);
  for (const box of other.boxes) {
    const [x0, y0, x1, y1] = box.xyxy, node = shape("g", { class: `box ${box.status}` });
    const text = shape("text", { x: x0, y: y0 > 14 * unit ? y0 - 3 * unit : y1 + 12 * unit, "font-size": 12 * unit, class: "view-label" });
    text.textContent = (box.threat ? "▲ " : "") + box.label;
    node.append(shape("rect", { x: x0, y: y0, width: x1 - x0, height: y1 - y0, class: "halo" }), shape("rect", { x: x0, y: y0, width: x1 - x0, height: y1 - y0, class: "line" }), text);
    drawing.append(node);
  }
  frame.append(title, drawing);
  frame.addEventListener("click", () => openView(other.analysis_id));
  return frame;
}
function openView(id) {
  props.value = { ...JSON.parse(JSON.stringify(work())), open_view: id };
  trigger("select");
}
/** The views come in the order of their scans; after the last one follows the first. */
function nextView() {
  const found = work() ? work().views || [] : [];
  if (!found.length) return;
  const order = [work().analysis_id, ...found.map(other => other.analysis_id)].sort();
  openView(order[(order.indexOf(work().analysis_id) + 1) % order.length]);
}

// --- which boxes are shown, and in which order the keys go through them ---------------------------------------
/** Boxes by doubt: what only the detector sees, then the least confident; a person's own come last. */
function doubtful() {
  const rank = box => [box.source === "human" ? 1 : 0, alone(box.label) ? 0 : 1, box.confidence == null ? 1 : box.confidence];
  return shownBoxes().map(box => [rank(box), box]).sort(([a], [b]) => a[0] - b[0] || a[1] - b[1] || a[2] - b[2]).map(([, box]) => box);
}
function showFrom(value) {
  threshold = clamp(value, 0, 0.95);
  desk.threshold = threshold;
  if (work() && !shownBoxes().some(box => box.id === selected)) selected = null;
  desk.tell("threshold");
}
slider.addEventListener("input", () => showFrom(Number(slider.value) / 100));
slider.addEventListener("change", () => slider.blur());
/** The row of the chosen box is marked in the items table. */
function tellChosen() {
  const box = boxOf(selected), label = box ? box.label : null;
  if (desk.chosen !== label) { desk.chosen = label; desk.tell("hover"); }
}
