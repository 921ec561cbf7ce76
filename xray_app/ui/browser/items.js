// @ts-check
// The items table: what was found, how many, who says so. Shows and edits the work the viewer holds.
import { takeCountsFromBoxes } from "./analyse_keys.js";
import { boxCounts, MOST, setCount } from "./counts.js";
import { add, find } from "./dom.js";
import { desk } from "./page_desk.js";

/** @typedef {import("./types.js").WorkItem} WorkItem */
/** @typedef {import("./types.js").Work} Work */

/** The class that a text names, by itself or by an alias.
 * @param {readonly import("./types.js").WorkLabel[]} labels @param {string} text */
export function classNamed(labels, text) {
  const wanted = text.trim().toLowerCase();
  return labels.find(entry => [entry.name, ...entry.aliases].some(name => name.toLowerCase() === wanted));
}

/** @param {string} label @param {number} count */
const change = (label, count) => desk.edit(work => setCount(work, label, count));

/** One more of a label. @param {string} label */
function insert(label) {
  const item = desk.work?.items.find(other => other.label === label);
  change(label, (item ? item.count : 0) + 1);
}

/** @param {HTMLTableCellElement} cell @param {string} text @param {string} title @param {() => void} run */
function addButton(cell, text, title, run) {
  const node = add(cell, "button", text);
  node.type = "button";
  node.title = title;
  node.setAttribute("aria-label", title);
  node.addEventListener("click", run);
}

/** @param {HTMLTableRowElement} row @param {string} text @param {string} className @param {string} title */
function addCell(row, text, className, title = "") {
  const cell = add(row, "td", text, className);
  cell.title = title;
  return cell;
}

/** A row of the table. @param {Work} work @param {WorkItem} item @param {number} boxes @param {() => void} redraw */
function rowOf(work, item, boxes, redraw) {
  const { label, count, confidence = null, status } = item;
  const row = document.createElement("tr");
  const pointed = desk.hovered === label || work.boxes.some(box => box.id === desk.hovered && box.label === label);
  const faint = confidence !== null && confidence < desk.threshold;
  row.className = status + (pointed || desk.chosen === label ? " lit" : "") + (faint ? " faint" : "");
  row.dataset.label = label;
  row.addEventListener("pointerenter", () => desk.hover(label));
  row.addEventListener("pointerleave", () => desk.hover(null));
  const alone = confidence !== null && work.agreement?.vlm_only.includes(label);
  addCell(row, (alone ? "≠ " : "") + label, "label", alone ? "only the VLM names it" : "");
  const counted = addCell(row, "", "count");
  addButton(counted, "−", `one ${label} fewer`, () => change(label, count - 1));
  counted.append(countField(item, redraw));
  addButton(counted, "+", `one ${label} more`, () => change(label, count + 1));
  const differs = boxes !== count;
  const boxesTitle = differs ? "the number of boxes differs from the count" : "boxes drawn";
  addCell(row, boxes ? String(boxes) : "–", differs ? "boxes differs" : "boxes", boxesTitle);
  const sure = confidence === null ? "✎" : `${Math.round(confidence * 100)} %`;
  addCell(row, sure, "confidence", confidence === null ? "a person said so" : "the model's confidence");
  addCell(row, status, "status");
  addButton(addCell(row, "", "remove"), "×", `remove ${label}`, () => change(label, 0));
  return row;
}

/** @param {WorkItem} item @param {() => void} redraw */
function countField({ label, count }, redraw) {
  const field = document.createElement("input");
  field.value = String(count);
  field.inputMode = "numeric";
  field.setAttribute("aria-label", `how many: ${label}`);
  field.addEventListener("change", () => {
    const value = Number(field.value);
    if (Number.isInteger(value) && value >= 0 && value <= MOST) change(label, value);
    else redraw();
  });
  field.addEventListener("keydown", event => {
    if (event.key === "Enter") field.blur();
  });
  return field;
}

/**
 * The button of the table that the keyboard holds, which a redraw would take from it.
 * @typedef {{name: string | null, part: number, at: number}} Held
 */
/** @param {HTMLTableSectionElement} body @returns {Held | null} */
function heldByKeys(body) {
  const node = document.activeElement;
  const row = node && body.contains(node) ? node.closest("tr") : null;
  if (!node?.matches("button:focus-visible") || !row) return null;
  const part = [...row.querySelectorAll("button")].findIndex(other => other === node);
  return { name: node.getAttribute("aria-label"), part, at: row.sectionRowIndex };
}

/** The same button, or that of the row which took its place.
 * @param {HTMLTableSectionElement} body @param {Held} held */
function holdAgain(body, { name, part, at }) {
  const same = [...body.querySelectorAll("button")].find(node => node.getAttribute("aria-label") === name);
  const row = body.rows[Math.min(at, body.rows.length - 1)];
  (same || row?.querySelectorAll("button")[part])?.focus();
}

/** @param {import("./types.js").Host<null>} host */
export function mount({ element }) {
  const body = find(element, "tbody", HTMLTableSectionElement);
  const field = find(element, ".add-item input", HTMLInputElement);
  const options = find(element, "datalist", HTMLElement);
  const empty = find(element, ".items-empty", HTMLElement);
  options.id += `-${Math.random().toString(36).slice(2)}`; // each tab with a picture has such a list
  field.setAttribute("list", options.id);

  /** @param {import("./types.js").Change} [what] */
  function draw(what) {
    const { work } = desk;
    element.classList.toggle("no-scan", !work);
    if (!work) {
      body.replaceChildren();
      empty.hidden = true;
      return;
    }
    empty.hidden = work.items.length > 0;
    options.replaceChildren();
    for (const entry of work.labels) add(options, "option", "").value = entry.name;
    const held = what === "load" ? null : heldByKeys(body);
    const boxed = boxCounts(work.boxes);
    const redraw = () => draw();
    body.replaceChildren(...work.items.map(item => rowOf(work, item, boxed.get(item.label) || 0, redraw)));
    if (held) holdAgain(body, held);
  }
  find(element, ".add-item", HTMLElement).addEventListener("submit", event => event.preventDefault());
  field.addEventListener("keydown", event => {
    if (event.key === "Escape") {
      field.value = "";
      field.blur();
    }
    if (event.key !== "Enter") return;
    event.preventDefault();
    const entry = classNamed(desk.work?.labels ?? [], field.value);
    field.setCustomValidity(entry ? "" : "Not a class of this site's taxonomy.");
    if (!entry) {
      field.reportValidity();
      return;
    }
    insert(entry.name);
    field.value = "";
  });
  field.addEventListener("input", event => {
    field.setCustomValidity("");
    // Picked from the list with the mouse; a typed "can" may still become "carton drink".
    const kind = event instanceof InputEvent ? event.inputType : "";
    const picked = !kind || kind === "insertReplacementText";
    const entry = picked ? classNamed(desk.work?.labels ?? [], field.value) : undefined;
    if (!entry) return;
    insert(entry.name);
    field.value = "";
  });
  const fromBoxes = find(element, "#counts-from-boxes", HTMLElement);
  fromBoxes.addEventListener("click", () => takeCountsFromBoxes(desk));
  // A redraw under somebody's fingers would take the field they are typing in.
  desk.subscribe(what => {
    if (what !== "hover" || !body.contains(document.activeElement)) draw(what);
  });
  draw();
}
