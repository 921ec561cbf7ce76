// @ts-check
// The list that names a box: type a few letters, Enter.
import { add, find, press } from "../dom.js";
import { desk } from "../page_desk.js";
import { freshId, matching, normal, offered } from "./boxes.js";
import { clamp } from "./geometry.js";

/** @typedef {import("../types.js").WorkLabel} WorkLabel */
/** @typedef {import("../types.js").Keys} Keys */

const MOST_ROWS = 40;
const NUMBERED = 9;
const PLACE = "Naming a box";
const LIST_SIZE = { width: 234, height: 270 };

/** The keys of the list. No class of any taxonomy so far has a digit in its name: a digit takes the row it stands at.
 * @param {Pick<NamingList, "step" | "takeActive" | "takeRow" | "takeAndSave" | "close">} list @returns {Keys} */
export function namingKeys(list) {
  /** @type {Keys} */
  const keys = {
    ArrowDown: { run: () => list.step(1), shown: "arrows", help: "another name of the list" },
    ArrowUp: { run: () => list.step(-1) },
    Enter: { run: () => list.takeActive(), help: "take the marked name" },
    "Ctrl+Enter": { run: () => list.takeAndSave(), help: "take it and save the correction" },
    Escape: { run: () => list.close(true), help: "close the list" },
  };
  for (let digit = 1; digit <= NUMBERED; digit++) {
    keys[digit] = { run: () => list.takeRow(digit - 1) };
    if (digit === 1) Object.assign(keys[digit], { shown: "1 to 9", help: "take the name with this number" });
  }
  return keys;
}

export class NamingList {
  /** @param {import("./viewer.js").Viewer} viewer */
  constructor(viewer) {
    this.viewer = viewer;
    this.frame = find(viewer.element, ".relabel", HTMLElement);
    this.typed = find(this.frame, "input", HTMLInputElement);
    this.choices = find(this.frame, "ul", HTMLElement);
    /** The marked row. */
    this.active = 0;
    const keys = namingKeys(this);
    this.typed.addEventListener("input", () => {
      this.active = 0;
      this.suggest();
    });
    this.typed.addEventListener("keydown", event => {
      const action = keys[(event.ctrlKey || event.metaKey ? "Ctrl+" : "") + event.key];
      if (action?.run && action.run(event) !== false) event.preventDefault();
      event.stopPropagation();
    });
    this.typed.addEventListener("blur", () => {
      setTimeout(() => {
        if (document.activeElement !== this.typed) this.close(false);
      }, 150);
    });
    // For the list of keys; while it is open the field itself reads them.
    if (!desk.places.some(place => place.name === PLACE)) desk.places.push({ name: PLACE, here: () => false, keys });
  }

  open() {
    return !this.frame.hidden;
  }

  /** Asks for the name of the box just drawn, the chosen one, or else the one in most doubt. */
  show() {
    const { viewer } = this;
    const work = viewer.work();
    if (!work) return;
    if (!viewer.proposed && !viewer.chosen()) {
      viewer.selected = viewer.byDoubt()[0]?.id ?? null;
      viewer.draw();
    }
    const box = viewer.proposed || viewer.chosen();
    if (!box || work.readonly) return;
    const stage = viewer.stage.getBoundingClientRect();
    const matrix = viewer.svg.getScreenCTM() ?? undefined;
    const at = new DOMPoint(box.xyxy[0], box.xyxy[3]).matrixTransform(matrix);
    this.frame.hidden = false;
    this.frame.style.left = `${clamp(at.x - stage.left, 4, Math.max(4, stage.width - LIST_SIZE.width))}px`;
    this.frame.style.top = `${clamp(at.y - stage.top + 6, 4, Math.max(4, stage.height - LIST_SIZE.height))}px`;
    this.typed.value = viewer.proposed ? "" : box.label;
    this.typed.select();
    this.suggest();
    this.typed.focus({ preventScroll: true });
  }

  /** @returns {WorkLabel[]} */
  matches() {
    const { viewer } = this;
    const work = viewer.work();
    if (!work) return [];
    const current = viewer.proposed ? null : (viewer.chosen()?.label ?? null);
    const words = normal(this.typed.value);
    if (words && words !== current?.toLowerCase()) return matching(work.labels, words);
    // What the VLM alone names is likeliest to be what the box is; then what was chosen last.
    return offered(work.labels, [...(work.agreement?.vlm_only ?? []), viewer.lastLabel], current);
  }

  suggest() {
    const found = this.matches().slice(0, MOST_ROWS);
    const { choices } = this;
    this.active = clamp(this.active, 0, Math.max(0, found.length - 1));
    choices.replaceChildren();
    for (const [index, entry] of found.entries()) this.addRow(entry, index);
    if (!found.length) add(choices, "li", "No such class in this site's taxonomy.", "none");
    const row = choices.children[this.active];
    if (!(row instanceof HTMLElement)) return;
    const above = row.offsetTop < choices.scrollTop;
    const below = row.offsetTop + row.offsetHeight > choices.scrollTop + choices.clientHeight;
    if (above || below) choices.scrollTop = row.offsetTop - 60;
  }

  /** @param {WorkLabel} entry @param {number} index */
  addRow(entry, index) {
    const active = index === this.active;
    const row = add(this.choices, "li", entry.name, entry.status + (active ? " active" : ""));
    if (index < NUMBERED) row.dataset.number = String(index + 1);
    row.setAttribute("role", "option");
    row.setAttribute("aria-selected", String(active));
    row.addEventListener("pointerdown", event => {
      event.preventDefault();
      this.take(entry);
    });
  }

  /** Gives the box a name, which makes it a person's. @param {WorkLabel} entry */
  take({ name, status }) {
    const { viewer } = this;
    viewer.lastLabel = name;
    const named = {
      label: name,
      status,
      threat: status === "prohibited",
      source: /** @type {const} */ ("human"),
      confidence: null,
    };
    if (viewer.proposed) {
      const box = { id: freshId(), xyxy: viewer.proposed.xyxy, ...named };
      viewer.proposed = null;
      viewer.selected = box.id;
      desk.edit(work => {
        work.boxes.push(box);
      });
    } else {
      const id = viewer.selected;
      desk.edit(work => {
        const box = work.boxes.find(other => other.id === id);
        if (box && box.label !== name) Object.assign(box, named);
      });
    }
    this.close(true);
  }

  /** @param {number} index @returns {boolean} whether there is such a row */
  takeRow(index) {
    const found = this.matches()[index];
    if (found) this.take(found);
    return Boolean(found);
  }

  takeActive() {
    this.takeRow(this.active);
  }

  takeAndSave() {
    if (this.takeRow(this.active)) ["save-correction", "annotate-save"].forEach(press);
  }

  /** @param {number} by */
  step(by) {
    this.active += by;
    this.suggest();
  }

  /** @param {boolean} refocus whether the picture gets the keys */
  close(refocus) {
    const open = this.open();
    this.frame.hidden = true;
    this.active = 0;
    this.viewer.proposed = null;
    if (!open) return;
    this.viewer.draw();
    if (refocus) this.viewer.svg.focus({ preventScroll: true });
  }
}
