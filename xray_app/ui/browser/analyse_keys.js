// @ts-check
import { countFromBoxes } from "./counts.js";
import { clickNext, openReport, press, shown } from "./dom.js";
import { openNext } from "./strip.js";

/** @typedef {import("./types.js").Keys} Keys */

/** Puts the cursor into a field, where the frame around it is on the screen.
 * @param {string} frame @param {string} field */
export function focusShown(frame, field) {
  const target = document.querySelector(field);
  if (shown(frame) && target instanceof HTMLElement) target.focus();
}

/** The keys of Analyse. @param {import("./desk.js").Desk} desk @returns {Keys} */
export function analyseKeys(desk) {
  // A second press meant for the bag before must not decide about the one that has just come up.
  /** @param {string} id */
  const decide = id => () => {
    if (desk.work && desk.looked()) press(id);
  };
  const field = "#outcome-found textarea, #outcome-found input";
  return {
    1: { run: decide("decide-clear"), help: "clear the bag", group: "Decision" },
    2: { run: decide("decide-review"), help: "send to review", group: "Decision" },
    3: { run: decide("decide-search"), help: "search by hand", group: "Decision" },
    z: { run: () => press("undo-decision"), help: "undo the decision, for five seconds", group: "Decision" },
    g: { run: () => press("next-scan"), help: "go on after a test image or a blind scan", group: "Decision" },
    f: { run: () => focusShown("#outcome", field), help: "say what the search found", group: "Decision" },
    s: { run: () => press("save-correction"), help: "save the correction", group: "Correction" },
    j: { run: openNext, help: "next scan", group: "Scans" },
    k: { run: () => clickNext("#strip [data-analysis]", -1), help: "previous scan", group: "Scans" },
    u: { run: () => press("add-files"), help: "add scans", group: "Scans" },
    "Shift+U": { run: () => press("add-folder"), help: "add a folder of scans", group: "Scans" },
    "Shift+X": {
      run: () => press("cancel-intake"),
      help: "cancel the scans that still wait to be analysed",
      group: "Scans",
    },
  };
}

/** The keys of every tab with a picture. @param {import("./desk.js").Desk} desk @returns {Keys} */
export function sharedKeys(desk) {
  return {
    c: { run: () => press("counts-from-boxes"), help: "take the counts from the boxes", group: "Correction" },
    "Ctrl+z": { run: () => desk.undo(), once: false, help: "undo an edit", group: "Correction" },
    "Ctrl+y": { run: () => desk.redo(), once: false, help: "redo it (also Ctrl Shift Z)", group: "Correction" },
    "Ctrl+Z": { run: () => desk.redo(), once: false },
    "Shift+P": {
      run: () => desk.work && openReport(desk.work.analysis_id),
      help: "report of the scan, to print",
      group: "Picture",
    },
    wheel: { mouse: true, help: "zoom", group: "Picture" },
    "Space drag": { mouse: true, help: "move the picture", group: "Picture" },
    a: { run: () => shown(".add-item input")?.focus(), help: "add an item", group: "Correction" },
  };
}

/** @param {import("./desk.js").Desk} desk */
export function takeCountsFromBoxes(desk) {
  desk.edit(work => countFromBoxes(work, desk.loadedBoxLabels));
}
