// @ts-check
// The queue: one tile a scan, with its risk as word, shape and colour. A click opens it.
import { add, addThumbnail, clickNext, copy, find } from "./dom.js";
import { desk } from "./page_desk.js";

/**
 * @typedef {object} Tile
 * @property {string} id of the analysis
 * @property {string[]} ids of all analyses of the scan
 * @property {string} scan_id
 * @property {string} filename
 * @property {string} level what the bag stands at
 * @property {string} reason
 * @property {string | null} by the person who found it; null: the models
 * @property {string | null} decision
 * @property {"flagged" | "waiting" | "searching" | "done"} section
 * @property {number} views
 */
/**
 * @typedef {object} Queue
 * @property {Tile[]} items
 * @property {number} [read_at] seconds since 1970: what was stored before is in it
 * @property {number} [waiting] how many scans wait in all
 * @property {string | null} [current]
 * @property {boolean} [keep_current]
 * @property {string | null} [offer] a scan that has just come in
 */

const TYPED = ["outcome-found", "decision-note", "comment"].map(id => `#${id} input, #${id} textarea`).join();

/** The words over each part of the queue. @param {number} waiting */
export function titles(waiting) {
  return {
    flagged: "HIGH, yet cleared",
    waiting: waiting > 1 ? `${waiting} scans waiting` : "",
    searching: "searched: what was found?",
    done: waiting ? "decided" : "all decided",
  };
}

/** Where J goes from a scan: to what waited after it when it was opened and still does. A correction may have moved
 * the scan in the queue meanwhile; who goes on would else be thrown back to what was passed over, or past the rest.
 * @param {string[]} order what waited when it was opened @param {string} current @param {string[]} waiting now
 * @returns {string | null} none: as the tiles stand */
export function nextWaiting(order, current, waiting) {
  const at = order.indexOf(current);
  if (at < 0) return null;
  const after = [...order.slice(at + 1), ...waiting.filter(id => !order.includes(id))];
  return after.find(id => id !== current && waiting.includes(id)) ?? null;
}

/** What waits, in the order of the tiles. @param {Tile[]} items */
const waitingIn = items => items.filter(item => item.section === "waiting").map(item => item.id);

/** Opens the next scan that waits; after the last of all tiles, the first that waits. */
export function openNext() {
  const tiles = [...document.querySelectorAll("#strip .tile")].filter(node => node instanceof HTMLElement);
  const current = tiles.find(tile => tile.getAttribute("aria-current") === "true")?.dataset.analysis;
  const waiting = tiles.filter(tile => tile.classList.contains("waiting")).map(tile => tile.dataset.analysis ?? "");
  const last = current !== undefined && tiles.at(-1)?.dataset.analysis === current;
  const next = current ? (nextWaiting(desk.order, current, waiting) ?? (last ? (waiting[0] ?? null) : null)) : null;
  if (next === null) clickNext("#strip [data-analysis]", 1);
  else tiles.find(tile => tile.dataset.analysis === next)?.click();
}

/** Of so many seconds: the server's clock was set back. */
const CLOCK_SET_BACK = 60;

/** The later read of two queues, which may be told in another order: each event reads the store when it begins.
 * More than a minute back, the server's clock was set.
 * @template {{read_at?: number}} Read @param {Read} shown @param {Read} told @returns {Read} */
export function laterRead(shown, told) {
  const before = (shown.read_at ?? 0) - (told.read_at ?? 0);
  return before > 0 && before < CLOCK_SET_BACK ? shown : told;
}

/** Whether the open scan is decided and nothing is edited or typed about it: who then drops others has done with it.
 * @param {Element | null} tile */
function finished(tile) {
  if (!desk.work || !tile?.classList.contains("done") || desk.work.answered || desk.dirty()) return false;
  const fields = [...document.querySelectorAll(TYPED)];
  return !fields.some(field => "value" in field && field.value);
}

/** @param {import("./types.js").Host<Queue>} host */
export function mount({ element, props, trigger, watch }) {
  const list = find(element, "ol", HTMLElement);
  const hint = find(element, ".strip-empty", HTMLElement);
  /** @type {string | null} */
  let current = null;
  /** @type {Queue} */
  let newest = { items: [] };

  /** @param {Tile} item */
  function tileOf(item) {
    const tile = document.createElement("li");
    const done = item.decision ? " done" : "";
    const button = add(tile, "button", "", `tile ${item.level.toLowerCase()}${done} ${item.section}`);
    button.type = "button";
    button.dataset.analysis = item.id;
    button.title = [item.filename, item.reason].filter(Boolean).join("\n");
    button.setAttribute("aria-current", String(current !== null && item.ids.includes(current)));
    addThumbnail(button, item.scan_id, image => {
      image.style.visibility = "hidden";
    });
    add(button, "span", item.by ? `${item.level} ✎ ${item.by}` : item.level, "tile-level");
    add(button, "span", item.filename, "tile-name");
    if (item.views > 1) add(button, "span", `${item.views} views`, "tile-views");
    if (item.decision) add(button, "span", `✓ ${item.decision}`, "tile-decision");
    button.addEventListener("click", () => choose(item.id));
    return tile;
  }
  function draw() {
    const value = props.value || { items: [] };
    const opened = value.current && value.current !== current;
    if (value.current) current = value.current;
    else if (!value.keep_current && !desk.work) current = null;
    newest = laterRead(newest, value);
    desk.queueReadAt = newest.read_at ?? 0;
    const { items } = newest;
    hint.hidden = items.length > 0;
    if (opened || !desk.order.length) {
      desk.order = waitingIn(items);
    }
    const words = titles(newest.waiting || 0);
    list.replaceChildren();
    for (const [index, item] of items.entries()) {
      const first = item.section !== items[index - 1]?.section;
      if (first && words[item.section]) add(list, "li", words[item.section], `divider ${item.section}`);
      list.append(tileOf(item));
    }
    const now = list.querySelector('[aria-current="true"]');
    if (now) keepInSight(now);
    // A scan that has just come in is opened where nothing is, nor has been asked for meanwhile.
    const idle = (!desk.work && current === null) || (desk.dropped && finished(now));
    if (value.offer && idle) choose(value.offer);
  }
  /** Like scrollIntoView, but of the queue alone: that would scroll the whole desk. @param {Element} tile */
  function keepInSight(tile) {
    const frame = element.closest("#strip");
    if (!frame) return;
    const view = frame.getBoundingClientRect();
    const at = tile.getBoundingClientRect();
    if (at.top < view.top) frame.scrollTop -= view.top - at.top + 8;
    else if (at.bottom > view.bottom) frame.scrollTop += at.bottom - view.bottom + 8;
  }
  /** @param {string} id */
  function choose(id) {
    desk.dropped = false;
    current = id;
    desk.order = waitingIn(newest.items);
    props.value = { items: [], ...copy(props.value), current: id, offer: null };
    draw();
    trigger("select");
  }
  watch("value", draw);
  draw();
}
