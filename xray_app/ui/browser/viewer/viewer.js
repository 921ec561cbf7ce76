// @ts-check
// The picture and its boxes: draw, move, resize, relabel, delete, filter, zoom. Scan and boxes with ids come in as
// the value; the same value with edited boxes goes out. Every text that is not ours is set by textContent.
import { copy, find, openReport } from "../dom.js";
import { openKeyHelp } from "../key_help.js";
import { desk } from "../page_desk.js";
import { byDoubt, isShown, nextId, unnamed } from "./boxes.js";
import { lineOf, nodesOf } from "./drawing.js";
import { Filters } from "./filters.js";
import { clamp, inTheMiddle, keptInSight, rounded, shifted, stretched, whole, zoomed } from "./geometry.js";
import { listenToMouse } from "./mouse.js";
import { NamingList } from "./naming.js";
import { Picture } from "./picture.js";
import { toolbarActs, viewerKeys } from "./viewer_keys.js";
import { OtherViews } from "./views.js";

/** @typedef {import("../types.js").Work} Work */
/** @typedef {import("../types.js").WorkBox} WorkBox */
/** @typedef {import("../types.js").WorkScan} WorkScan */
/** @typedef {import("../types.js").Xyxy} Xyxy */
/** @typedef {import("../types.js").Host<Work>} Host */
/** @typedef {Work & {scan: WorkScan}} Shown */

const MOST_HIDDEN = 0.95;
const PAN_SHARE = 0.08;
const FAR = 10;

/** Of several viewers on a page, the one on the screen holds the work and gets the keys. */
export class Viewer {
  /** @param {Host} host */
  constructor({ element, props, trigger }) {
    this.element = element;
    this.props = props;
    this.trigger = trigger;
    this.stage = find(element, ".stage", HTMLElement);
    this.svg = find(element, "svg.scan", SVGSVGElement);
    this.layer = find(this.svg, ".boxes", SVGElement);
    this.line = find(element, ".viewer-line", HTMLElement);
    this.slider = find(element, ".threshold input", HTMLInputElement);
    this.hiddenCount = find(element, ".threshold output", HTMLElement);
    this.empty = find(element, ".viewer-empty", HTMLElement);
    this.unsaved = find(element, ".unsaved", HTMLElement);
    /** What is seen of the picture. */
    this.sight = whole({ width: 1, height: 1 });
    /** @type {string | null} id of the chosen box */
    this.selected = null;
    /** @type {import("./mouse.js").Drag | null} */
    this.drag = null;
    /** @type {WorkBox | null} a box that was drawn and waits for its name */
    this.proposed = null;
    /** Whether the next drag draws a box, whatever is under it. */
    this.arming = false;
    this.spaced = false;
    this.hidden = false;
    this.ghosts = false;
    /** Model boxes below this confidence are not shown. */
    this.threshold = 0;
    /** @type {string | null} */
    this.lastLabel = null;
    /** @type {string | null} id of the analysis on the screen */
    this.shown = null;
    /** @type {Work | null} as it came from the server */
    this.loaded = null;
    this.picture = new Picture(this);
    this.views = new OtherViews(this);
    this.filters = new Filters(this);
    this.naming = new NamingList(this);
    this.actions = viewerKeys(this);
  }

  /** The work, where this viewer holds it. @returns {Shown | null} */
  work() {
    const { work } = desk;
    return desk.owner === this && work?.scan ? /** @type {Shown} */ (work) : null;
  }

  /** @param {string | null | undefined} id */
  boxOf(id) {
    return this.work()?.boxes.find(box => box.id === id);
  }

  chosen() {
    return this.boxOf(this.selected);
  }

  shownBoxes() {
    return (this.work()?.boxes ?? []).filter(box => isShown(box, this.threshold));
  }

  /** Whether the detector alone names it. @param {string} label */
  alone(label) {
    return Boolean(this.work()?.agreement?.detector_only.includes(label));
  }

  byDoubt() {
    return byDoubt(this.shownBoxes(), label => this.alone(label));
  }

  // --- zoom and pan --------------------------------------------------------------------------------------------

  /** Pixels of the screen for one of the scan. */
  scale() {
    return Math.min(this.svg.clientWidth / this.sight.w, this.svg.clientHeight / this.sight.h) || 1;
  }

  fit() {
    const work = this.work();
    if (!work) return;
    this.sight = whole(work.scan);
    this.draw();
  }

  /** @param {number} factor @param {import("./geometry.js").Point | null} [centre] */
  zoom(factor, centre = null) {
    const work = this.work();
    if (!work) return;
    this.sight = zoomed(this.sight, factor, centre, work.scan);
    this.draw();
  }

  /** @param {number} x @param {number} y */
  lookAt(x, y) {
    const work = this.work();
    if (work) this.sight = keptInSight({ ...this.sight, x, y }, work.scan);
  }

  /** Where on the scan an event happened. @param {MouseEvent} event @returns {import("./geometry.js").Point} */
  point(event) {
    const matrix = this.svg.getScreenCTM();
    if (!matrix) return [0, 0];
    const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(matrix.inverse());
    return [at.x, at.y];
  }

  // --- drawing -------------------------------------------------------------------------------------------------

  draw() {
    const work = this.work();
    this.element.classList.toggle("no-scan", !work);
    this.empty.hidden = Boolean(work);
    if (!work) {
      this.layer.replaceChildren();
      this.picture.clear();
      this.line.textContent = "";
      return;
    }
    const { x, y, w, h } = this.sight;
    this.svg.setAttribute("viewBox", `${x} ${y} ${w} ${h}`);
    this.layer.replaceChildren(...nodesOf(this, work));
    this.layer.style.display = this.hidden ? "none" : "";
    this.line.textContent = lineOf(this, work).join("   ·   ");
    this.unsaved.hidden = !desk.dirty();
    const below = work.boxes.length - this.shownBoxes().length;
    const percent = Math.round(this.threshold * 100);
    this.slider.value = String(percent);
    this.hiddenCount.textContent = this.threshold ? `${percent} %${below ? `, ${below} hidden` : ""}` : "all";
    this.views.draw();
    this.tellChosen();
  }

  /** The row of the chosen box is marked in the items table. */
  tellChosen() {
    const label = this.chosen()?.label ?? null;
    if (desk.chosen === label) return;
    desk.chosen = label;
    desk.tell("hover");
  }

  // --- editing -------------------------------------------------------------------------------------------------

  /** @param {string} id @param {Xyxy} xyxy */
  place(id, xyxy) {
    const target = rounded(xyxy);
    desk.edit(work => {
      const box = work.boxes.find(other => other.id === id);
      if (!box || String(rounded(box.xyxy)) === String(target)) return;
      Object.assign(box, { xyxy: target, source: "human", confidence: null });
    });
  }

  /** A box that was drawn is to be named. @param {Xyxy} xyxy */
  propose(xyxy) {
    this.proposed = unnamed(xyxy);
    this.draw();
    this.naming.show();
  }

  remove() {
    const box = this.chosen();
    if (!box) return;
    this.selected = null;
    desk.edit(work => {
      work.boxes = work.boxes.filter(other => other.id !== box.id);
    });
  }

  /** Arrows: the box that is being placed, the chosen one, or the picture.
   * @param {number} dx @param {number} dy @param {boolean} far */
  nudge(dx, dy, far) {
    const work = this.work();
    if (!work) return;
    const step = far ? FAR : 1;
    const box = this.chosen();
    if (this.proposed) this.proposed.xyxy = shifted(this.proposed.xyxy, dx * step, dy * step, work.scan);
    else if (box) return this.place(box.id, shifted(box.xyxy, dx * step, dy * step, work.scan));
    else this.lookAt(this.sight.x + dx * this.sight.w * PAN_SHARE, this.sight.y + dy * this.sight.h * PAN_SHARE);
    this.draw();
  }

  /** Ctrl arrows: the right and the lower side; with the arrows, any box can be made.
   * @param {number} dx @param {number} dy @param {boolean} far */
  grow(dx, dy, far) {
    const work = this.work();
    if (!work) return;
    const step = far ? FAR : 1;
    const box = this.chosen();
    if (this.proposed) {
      this.proposed.xyxy = stretched(this.proposed.xyxy, "se", dx * step, dy * step, work.scan);
      this.draw();
    } else if (box) this.place(box.id, stretched(box.xyxy, "se", dx * step, dy * step, work.scan));
  }

  /** @param {number} by */
  cycle(by) {
    const next = nextId(this.byDoubt(), this.selected, by);
    if (next === null) return;
    this.selected = next;
    this.draw();
  }

  /** @param {boolean} on */
  arm(on) {
    this.arming = on;
    this.stage.classList.toggle("arming", on);
  }

  /** D, Enter: a box in the middle of what is seen, to be moved and sized by keys. */
  placeByKey() {
    const work = this.work();
    if (!work || work.readonly) return;
    this.arm(false);
    this.selected = null;
    this.proposed = unnamed(inTheMiddle(this.sight, work.scan));
    this.draw();
  }

  enter() {
    if (this.proposed) this.proposed.xyxy = rounded(this.proposed.xyxy);
    else if (this.arming) return this.placeByKey();
    this.naming.show();
  }

  letGo() {
    this.selected = this.proposed = null;
    this.arm(false);
    this.draw();
  }

  toggleBoxes() {
    this.hidden = !this.hidden;
    this.draw();
  }

  toggleGhosts() {
    this.ghosts = !this.ghosts;
    this.draw();
  }

  report() {
    const work = this.work();
    if (work) openReport(work.analysis_id);
  }

  help() {
    openKeyHelp(desk.places);
  }

  /** @param {number} value */
  showFrom(value) {
    this.threshold = desk.threshold = clamp(value, 0, MOST_HIDDEN);
    if (this.work() && !this.shownBoxes().some(box => box.id === this.selected)) this.selected = null;
    desk.tell("threshold");
  }

  /** Shows what the slider or X hides; how many boxes that were. */
  revealBoxes() {
    const count = (this.work()?.boxes.length ?? 0) - (this.hidden ? 0 : this.shownBoxes().length);
    if (!count) return 0;
    this.hidden = false;
    this.showFrom(0);
    return count;
  }

  // --- coming and going ----------------------------------------------------------------------------------------

  /** @param {import("../types.js").Change} what */
  changed(what) {
    if (desk.owner !== this) return;
    const work = this.work();
    if (what === "load") this.comeUp(work);
    this.draw();
    // Gradio's copy is what the server gets with the next event.
    if (work && (what === "load" || what === "edit")) this.props.value = copy(work);
  }

  /** @param {Shown | null} work */
  comeUp(work) {
    if (!work) {
      this.shown = null;
      return;
    }
    if (this.shown !== work.analysis_id) {
      this.naming.close(false);
      this.shown = work.analysis_id;
      this.selected = this.drag = null;
      this.hidden = false;
      this.threshold = desk.threshold = 0;
      this.arm(false);
      this.picture.load(work.scan);
      this.filters.apply("plain");
      this.fit();
    } else this.picture.again(work.scan);
    if (!this.chosen()) this.selected = null;
  }

  /** A value came from the server, also behind another tab: Search opens a scan before it shows Analyse. */
  takeUp() {
    this.loaded = this.props.value ? copy(this.props.value) : null;
    if (this.svg.clientWidth || !desk.owner || desk.owner === this) this.show();
  }

  show() {
    desk.load(this.loaded, this);
    if (this.loaded) this.loaded.discard_draft = false; // done: what is edited from now on comes back
  }

  openView(/** @type {string} */ id) {
    const work = this.work();
    if (!work) return;
    this.props.value = { ...copy(/** @type {Work} */ (work)), open_view: id };
    this.trigger("select");
  }

  listen() {
    const { element, slider } = this;
    listenToMouse(this);
    slider.addEventListener("input", () => this.showFrom(Number(slider.value) / 100));
    slider.addEventListener("change", () => slider.blur());
    const acts = toolbarActs(this);
    element.addEventListener("click", event => {
      const button = event.target instanceof Element ? event.target.closest(".toolbar button") : null;
      if (!(button instanceof HTMLElement)) return;
      const { filter, act } = button.dataset;
      if (filter) this.filters.apply(filter);
      if (act) acts[act]?.();
      button.blur();
    });
    desk.subscribe(what => this.changed(what));
    // Back on the screen, after another viewer held the work: its unsaved edits come back from the draft.
    new ResizeObserver(() => {
      if (this.svg.clientWidth && desk.owner !== this) this.show();
      this.draw();
    }).observe(this.stage);
  }
}

/** @param {Host} host */
export function mount(host) {
  const viewer = new Viewer(host);
  viewer.listen();
  host.watch("value", () => viewer.takeUp());
  viewer.filters.show();
  viewer.takeUp();
}
