// @ts-check

/** @typedef {import("./viewer.js").Viewer} Viewer */
/** @typedef {import("../types.js").Keys} Keys */
import { desk } from "../page_desk.js";

const ZOOM = 1.3;
const SURER = 0.05;

/** @type {Record<string, [name: string, help: string]>} */
export const FILTER_KEYS = {
  b: ["grey", "black and white"],
  n: ["negative", "negative"],
  o: ["organic", "organic only, by colour"],
  m: ["metal", "metal only, by colour"],
  h: ["high", "high penetration: see into dense parts"],
  l: ["low", "low penetration: see thin parts"],
  t: ["contrast", "stronger contrast"],
  e: ["edge", "edge enhancement"],
  r: ["plain", "picture as scanned"],
};

/** What the buttons of the toolbar do, by their `data-act`. @param {Viewer} viewer
 * @returns {Record<string, () => void>} */
export function toolbarActs(viewer) {
  return {
    fit: () => viewer.fit(),
    in: () => viewer.zoom(ZOOM),
    out: () => viewer.zoom(1 / ZOOM),
    draw: () => viewer.arm(!viewer.arming),
    boxes: () => viewer.toggleBoxes(),
    undo: () => desk.undo(),
    redo: () => desk.redo(),
    help: () => viewer.help(),
    report: () => viewer.report(),
  };
}

/** The keys of a viewer. @param {Viewer} viewer @returns {Keys} */
export function viewerKeys(viewer) {
  /** @type {Keys} */
  const filters = {};
  for (const [key, [name, help]] of Object.entries(FILTER_KEYS)) {
    filters[key] = { run: () => viewer.filters.apply(name), help, group: "Filters" };
  }
  /** @param {number} dx @param {number} dy @param {string} [help] */
  const move = (dx, dy, help) => ({
    run: (/** @type {KeyboardEvent} */ event) => viewer.nudge(dx, dy, event.shiftKey),
    once: false,
    ...(help ? { shown: "arrows", help, group: "Boxes" } : {}),
  });
  /** @param {number} dx @param {number} dy @param {string} [help] */
  const size = (dx, dy, help) => ({
    run: (/** @type {KeyboardEvent} */ event) => viewer.grow(dx, dy, event.shiftKey),
    once: false,
    ...(help ? { shown: "Ctrl arrows", help, group: "Boxes" } : {}),
  });
  const zoomIn = () => viewer.zoom(ZOOM);
  return {
    ...filters,
    d: {
      run: () => viewer.arm(!viewer.arming),
      help: "draw a box: drag, or Enter to place one by keys",
      group: "Boxes",
    },
    Enter: { run: () => viewer.enter(), help: "relabel the box, or the one in most doubt", group: "Boxes" },
    Delete: { run: () => viewer.remove(), help: "delete the box", group: "Boxes" },
    Backspace: { run: () => viewer.remove() },
    ".": { run: () => viewer.cycle(1), help: "next box, the doubtful ones first", group: "Boxes" },
    ",": { run: () => viewer.cycle(-1), help: "previous box", group: "Boxes" },
    ArrowLeft: move(-1, 0, "move box or picture (Shift: further)"),
    ArrowRight: move(1, 0),
    ArrowUp: move(0, -1),
    ArrowDown: move(0, 1),
    "Ctrl+ArrowRight": size(1, 0, "size the box (Shift: further)"),
    "Ctrl+ArrowLeft": size(-1, 0),
    "Ctrl+ArrowUp": size(0, -1),
    "Ctrl+ArrowDown": size(0, 1),
    "+": { run: zoomIn, once: false, help: "zoom in", group: "Picture" },
    "=": { run: zoomIn, once: false },
    "-": { run: () => viewer.zoom(1 / ZOOM), once: false, help: "zoom out", group: "Picture" },
    0: { run: () => viewer.fit(), help: "whole picture", group: "Picture" },
    x: { run: () => viewer.toggleBoxes(), help: "hide or show the boxes", group: "Picture" },
    "]": {
      run: () => viewer.showFrom(viewer.threshold + SURER),
      once: false,
      help: "show surer boxes only",
      group: "Picture",
    },
    "[": {
      run: () => viewer.showFrom(viewer.threshold - SURER),
      once: false,
      help: "show less sure boxes too",
      group: "Picture",
    },
    v: { run: () => viewer.views.openNext(), help: "next view of the bag", group: "Picture" },
    p: { run: () => viewer.toggleGhosts(), help: "show the prediction under the correction", group: "Picture" },
    Escape: { run: () => viewer.letGo(), help: "let go of the box", group: "Boxes" },
  };
}
