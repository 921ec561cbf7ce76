// @ts-check
// Annotate and Review: their keys, the draft that is kept while one works, and the claim that lasts as long.
import { buttonOf, clickNext, closest, press, shown } from "./dom.js";
import { JUDGES } from "./guards.js";

/** @typedef {import("./desk.js").Desk} Desk */
/** @typedef {import("./types.js").Keys} Keys */

const KEEP_AFTER_MS = 1500;
const RENEW_EVERY_MS = 60_000;
const ACTIVE_FOR_MS = 5 * 60_000;
const JUST_COME_UP_MS = 600;
const ACTIVITY = ["pointerdown", "pointermove", "keydown", "wheel"];

const here = () => shown("#annotate-viewer") !== null;
const skipping = () => shown("#annotate-skips.open") !== null;

/** @param {boolean} open */
function openSkips(open) {
  document.querySelector("#annotate-skips")?.classList.toggle("open", open);
}

/** @param {Desk} desk @returns {Keys} */
export function annotateKeys(desk) {
  // A second press meant for the scan before must not save the one that has just come up.
  /** @param {string} id */
  const unhurried = id => () => {
    if (desk.work && desk.looked()) press(id);
  };
  /** @param {number} number */
  const skip = number => () => {
    if (skipping()) press(`annotate-skip-${number}`);
  };
  return {
    t: { run: () => press("annotate-next"), help: "take the next scan" },
    y: { run: unhurried("annotate-right"), help: "the prediction is right" },
    s: { run: unhurried("annotate-save"), help: "save, and on to the next" },
    q: { run: () => openSkips(!skipping()), help: "skip, with a reason" },
    1: { run: skip(1), shown: "1 to 4", help: "the reason for skipping" },
    2: { run: skip(2) },
    3: { run: skip(3) },
    4: { run: skip(4) },
  };
}

/** @type {Keys} */
export const reviewKeys = {
  a: { run: () => press("review-accept"), help: "accept the correction" },
  r: { run: () => press("review-reject"), help: "reject it" },
  e: { run: () => press("review-amend"), help: "amend it on Annotate" },
  j: { run: () => clickNext("#review-list .pick", 1), help: "next correction" },
  k: { run: () => clickNext("#review-list .pick", -1), help: "previous correction" },
};

/** @param {Desk} desk */
export function annotate(desk) {
  let timer = 0;
  let lastActive = Date.now();
  const keep = () => {
    const button = document.querySelector("#annotate-keep");
    if (here() && desk.work && button instanceof HTMLElement) button.click();
  };
  desk.places.unshift({ name: "Annotate", here, keys: annotateKeys(desk) });
  desk.subscribe(what => {
    if (!here() || (what !== "load" && what !== "edit")) return;
    clearTimeout(timer);
    if (what === "load") openSkips(false);
    else timer = window.setTimeout(keep, KEEP_AFTER_MS);
  });
  const active = () => {
    lastActive = Date.now();
  };
  for (const kind of ACTIVITY) document.addEventListener(kind, active, { passive: true });
  setInterval(() => {
    if (Date.now() - lastActive < ACTIVE_FOR_MS) keep();
  }, RENEW_EVERY_MS);
  document.addEventListener("click", event => {
    if (closest(event, "#annotate-skip")) openSkips(!skipping());
  });
}

/** @param {Desk} desk */
export function review(desk) {
  desk.places.unshift({ name: "Review", here: () => shown("#review-list") !== null, keys: reviewKeys });
  // A second press meant for the correction before must not judge the one that has just come up.
  let proposedAt = -Infinity;
  const watched = new WeakSet();
  const watch = () => {
    const facts = document.querySelector("#review-facts");
    if (!facts || watched.has(facts)) return;
    watched.add(facts);
    new MutationObserver(() => {
      proposedAt = performance.now();
    }).observe(facts, { childList: true, subtree: true, characterData: true });
  };
  for (const kind of ["keydown", "pointerdown"]) document.addEventListener(kind, watch, true);
  document.addEventListener(
    "click",
    event => {
      if (!buttonOf(event)?.classList.contains(JUDGES)) return;
      if (event.detail > 1 || performance.now() - proposedAt < JUST_COME_UP_MS) event.stopImmediatePropagation();
    },
    true,
  );
}
