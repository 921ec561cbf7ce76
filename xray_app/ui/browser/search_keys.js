// @ts-check
// Search: arrow keys go from tile to tile, so that a page is looked through without the mouse.
import { openReport, shown, visible } from "./dom.js";

const tiles = () => [...document.querySelectorAll("#found .match")].filter(tile => tile instanceof HTMLElement);
const focused = () => {
  const tile = document.activeElement?.closest("#found .match-item")?.querySelector(".match");
  return tile instanceof HTMLElement ? tile : null;
};

/** Goes on by tiles, or by rows of them; false where the key is not the list's.
 * @param {number} by @param {boolean} rows */
function step(by, rows) {
  const all = tiles();
  const tile = focused();
  const now = tile ? all.indexOf(tile) : -1;
  if (now < 0 && document.activeElement !== document.body) return false; // tabs and lists have arrow keys of their own
  const top = all[0]?.getBoundingClientRect().top;
  const across = all.filter(other => visible(other) && other.getBoundingClientRect().top === top).length;
  const next = all[now < 0 ? 0 : now + by * (rows ? Math.max(1, across) : 1)];
  next?.focus();
  return Boolean(next);
}

/** @type {import("./types.js").Keys} */
export const searchKeys = {
  ArrowRight: { run: () => step(1, false), once: false, shown: "arrows", help: "go through the pictures" },
  ArrowLeft: { run: () => step(-1, false), once: false },
  ArrowDown: { run: () => step(1, true), once: false },
  ArrowUp: { run: () => step(-1, true), once: false },
  Enter: { press: true, help: "open the scan on Analyse" },
  "Shift+P": {
    run: () => {
      const id = focused()?.dataset.analysis;
      if (id) openReport(id);
    },
    help: "report of the scan, to print",
  },
};

/** @param {import("./desk.js").Desk} desk */
export function search(desk) {
  desk.places.unshift({ name: "Search", here: () => shown("#found") !== null, keys: searchKeys });
}
