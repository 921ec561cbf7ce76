// @ts-check
// A save that was not done: it waits for another press, since the list lacks what a box shows, or for a choice, since
// somebody else has saved meanwhile.
import { press, shown } from "./dom.js";

const SHOWN = ".clash";
const CONFLICT = ".conflict:not(.clash, .merged)";

/** Whether the list names what every box shows.
 * @param {Pick<import("./types.js").Work, "boxes" | "items">} work */
export function listsBoxes({ boxes, items }) {
  const listed = new Set(items.map(item => item.label));
  return boxes.every(box => listed.has(box.label));
}

/** The same key as before saves with the counts from the boxes, and so does Enter.
 * @param {import("./desk.js").Desk} desk */
export function settleClashes(desk) {
  const save = () => press(shown("#annotate-save") ? "annotate-save" : "save-correction");
  desk.places.unshift({
    name: "A box that the list lacks",
    here: () => shown(SHOWN) !== null,
    keys: { Enter: { run: save, help: "save with the counts from the boxes, as S does again" } },
  });
  const conflict = () => shown(CONFLICT);
  desk.places.unshift({
    name: "A revision saved meanwhile",
    here: () => conflict() !== null,
    due: () => conflict() !== null,
    keys: {
      // Only put away: saved again, it comes anew.
      Escape: { run: () => conflict()?.setAttribute("hidden", ""), from: "*", help: "go on with your edits" },
    },
  });
  desk.subscribe(what => {
    if (what !== "edit" || !desk.work || !listsBoxes(desk.work)) return;
    for (const told of document.querySelectorAll(SHOWN)) told.setAttribute("hidden", ""); // settled by hand
  });
}
