// The items table: what was found, how many, who says so. Shows and edits the work the viewer holds.
const desk = window.xrayDesk;
const body = element.querySelector("tbody"), add = element.querySelector(".add-item input"), options = element.querySelector("datalist"), empty = element.querySelector(".items-empty");
options.id += `-${Math.random().toString(36).slice(2)}`;  // each tab with a picture has such a list
add.setAttribute("list", options.id);
const words = { prohibited: "prohibited", restricted: "restricted", allowed: "allowed" };

function cell(row, text, className) {
  const node = document.createElement("td");
  node.textContent = text;
  if (className) node.className = className;
  row.append(node);
  return node;
}
function button(text, title, run) {
  const node = document.createElement("button");
  node.type = "button"; node.textContent = text; node.title = title; node.setAttribute("aria-label", title);
  node.addEventListener("click", run);
  return node;
}
const change = (label, count) => desk.edit(() => desk.setCount(label, count));
function named(text) {
  const wanted = text.trim().toLowerCase();
  return desk.work && desk.work.labels.find(entry => [entry.name, ...entry.aliases].some(name => name.toLowerCase() === wanted));
}
function insert(label) {
  const item = desk.work.items.find(other => other.label === label);
  change(label, (item ? item.count : 0) + 1);
}
/** Counts per label from the boxes. Items that never had a box stay, since not everything is boxed. */
function countsFromBoxes() {
  desk.edit(work => {
    const counts = new Map([...desk.loadedBoxLabels].map(label => [label, 0]));
    for (const box of work.boxes) counts.set(box.label, (counts.get(box.label) || 0) + 1);
    for (const [label, count] of counts) desk.setCount(label, count);
  });
}
function draw(what) {
  const work = desk.work;
  element.classList.toggle("no-scan", !work);
  if (!work) { body.replaceChildren(); empty.hidden = true; return; }
  empty.hidden = work.items.length > 0;
  options.replaceChildren(...work.labels.map(entry => { const option = document.createElement("option"); option.value = entry.name; return option; }));
  const held = what !== "load" && heldByKeys(), boxed = new Map();
  for (const box of work.boxes) boxed.set(box.label, (boxed.get(box.label) || 0) + 1);
  body.replaceChildren(...work.items.map(item => {
    const row = document.createElement("tr");
    const pointed = desk.hovered === item.label || work.boxes.some(box => box.id === desk.hovered && box.label === item.label);
    row.className = item.status + (pointed || desk.chosen === item.label ? " lit" : "") + (item.confidence != null && item.confidence < desk.threshold ? " faint" : "");
    row.dataset.label = item.label;
    row.addEventListener("pointerenter", () => desk.hover(item.label));
    row.addEventListener("pointerleave", () => desk.hover(null));
    const alone = item.confidence != null && work.agreement && work.agreement.vlm_only.includes(item.label);
    cell(row, (alone ? "≠ " : "") + item.label, "label").title = alone ? "only the VLM names it" : "";
    const count = cell(row, "", "count");
    const number = document.createElement("input");
    number.value = item.count; number.inputMode = "numeric"; number.setAttribute("aria-label", `how many: ${item.label}`);
    number.addEventListener("change", () => { const value = Number(number.value); Number.isInteger(value) && value >= 0 && value <= 99 ? change(item.label, value) : draw(); });
    number.addEventListener("keydown", event => { if (event.key === "Enter") number.blur(); });
    count.append(button("−", `one ${item.label} fewer`, () => change(item.label, item.count - 1)), number, button("+", `one ${item.label} more`, () => change(item.label, item.count + 1)));
    const boxes = boxed.get(item.label) || 0;
    cell(row, boxes ? String(boxes) : "–", boxes !== item.count ? "boxes differs" : "boxes").title = boxes !== item.count ? "the number of boxes differs from the count" : "boxes drawn";
    cell(row, item.confidence == null ? "✎" : `${Math.round(item.confidence * 100)} %`, "confidence").title = item.confidence == null ? "a person said so" : "the model's confidence";
    cell(row, words[item.status] || "", "status");
    cell(row, "", "remove").append(button("×", `remove ${item.label}`, () => change(item.label, 0)));
    return row;
  }));
  if (held) holdAgain(held);
}
/** What the keyboard holds in the table, which a redraw would take from it. */
function heldByKeys() {
  const node = body.contains(document.activeElement) && document.activeElement, row = node && node.closest("tr");
  return row && node.matches("button:focus-visible") ? { name: node.getAttribute("aria-label"), part: [...row.querySelectorAll("button")].indexOf(node), at: row.sectionRowIndex } : null;
}
/** The same button, or that of the row which took its place. */
function holdAgain({ name, part, at }) {
  const same = [...body.querySelectorAll("button")].find(node => node.getAttribute("aria-label") === name);
  const row = body.rows[Math.min(at, body.rows.length - 1)], next = same || (row && row.querySelectorAll("button")[part]);
  if (next) next.focus();
}
element.querySelector(".add-item").addEventListener("submit", event => event.preventDefault());
add.addEventListener("keydown", event => {
  if (event.key === "Escape") { add.value = ""; add.blur(); }
  if (event.key !== "Enter") return;
  event.preventDefault();
  const entry = named(add.value);
  add.setCustomValidity(entry ? "" : "Not a class of this site's taxonomy.");
  if (!entry) { add.reportValidity(); return; }
  insert(entry.name);
  add.value = "";
});
add.addEventListener("input", event => {
  add.setCustomValidity("");
  // Picked from the list with the mouse; a typed "can" may still become "carton drink".
  const entry = (!event.inputType || event.inputType === "insertReplacementText") && named(add.value);
  if (entry) { insert(entry.name); add.value = ""; }
});
element.querySelector("#counts-from-boxes").addEventListener("click", countsFromBoxes);
// Of the tables on the page, the one on the screen.
const addShown = () => { const field = [...document.querySelectorAll(".add-item input")].find(node => node.offsetParent !== null); if (field) field.focus(); };
desk.shared["a"] = { run: addShown, help: "add an item", group: "Correction" };
// A redraw under somebody's fingers would take the field they are typing in.
desk.subscribe(what => { if (what !== "hover" || !body.contains(document.activeElement)) draw(what); });
draw();
