// @ts-check
// Annotate and Review: their keys, the draft that is kept while one works, and the claim that lasts as long.
import { add, buttonOf, clickNext, closest, press, shown } from "./dom.js";
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
  return {
    t: { run: () => press("annotate-next"), help: "take the next scan" },
    y: { run: unhurried("annotate-right"), help: "the prediction is right" },
    s: { run: unhurried("annotate-save"), help: "save, and on to the next" },
    q: { run: () => openSkips(!skipping()), help: "skip, with a reason", answers: true },
  };
}

/** @param {number} number */
const skip = number => () => press(`annotate-skip-${number}`);

/** @type {Keys} */
export const skipKeys = {
  1: { run: skip(1), shown: "1 to 4", help: "the reason for skipping", answers: true },
  2: { run: skip(2), answers: true },
  3: { run: skip(3), answers: true },
  4: { run: skip(4), answers: true },
  Escape: { run: () => openSkips(false), help: "do not skip" },
};

/** @param {Rejection} rejection @returns {Keys} */
export function reviewKeys(rejection) {
  return {
    a: { run: () => press("review-accept"), help: "accept the correction" },
    r: { run: () => rejection.begun || rejection.begin(), help: "reject it: write why, then Enter", answers: true },
    Enter: { run: () => rejection.finish(), from: "#review-comment", help: "in the comment, after R: reject" },
    Escape: { run: () => rejection.leave(), from: "*", help: "do not reject" },
    z: { run: () => press("review-undo"), help: "take back what you accepted or rejected last" },
    e: { run: () => press("review-amend"), help: "amend it on Annotate" },
    j: { run: () => clickNext("#review-list .pick", 1), help: "next correction" },
    k: { run: () => clickNext("#review-list .pick", -1), help: "previous correction" },
  };
}

/** A rejection that waits for its reason. */
export class Rejection {
  constructor() {
    this.begun = false;
  }

  field() {
    const field = shown("#review-comment textarea, #review-comment input");
    return field instanceof HTMLTextAreaElement || field instanceof HTMLInputElement ? field : null;
  }

  /** Whether words are due: a comment that is begun may go on, wherever the caret is by then. */
  due() {
    return this.begun || Boolean(this.field()?.value.trim());
  }

  begin() {
    this.mark(true);
    this.field()?.focus();
  }

  /** Rejects with what is written; false: Enter is not meant so here. */
  finish() {
    if (!this.begun) return false;
    this.field()?.blur(); // the keys are the desk's again, for the next correction
    return press("review-reject");
  }

  /** Gives the keys back; false: Escape is not meant so here. */
  leave() {
    const field = this.field();
    if (!this.begun && document.activeElement !== field) return false;
    this.mark(false);
    return field?.blur();
  }

  /** @param {boolean} begun */
  mark(begun) {
    this.begun = begun;
    const form = document.querySelector("#review-decide");
    form?.classList.toggle("reason-due", begun);
    form?.querySelector(".reason-asked")?.remove();
    if (!form || !begun) return;
    const asked = add(form, "p", "Write why, then press Enter. Escape: do not reject.", "reason-asked");
    asked.setAttribute("role", "alert");
  }
}

/** @param {Desk} desk */
export function annotate(desk) {
  let timer = 0;
  let lastActive = Date.now();
  const keep = () => {
    const button = document.querySelector("#annotate-keep");
    if (here() && desk.work && button instanceof HTMLElement) button.click();
  };
  desk.places.unshift({ name: "Annotate", here, keys: annotateKeys(desk) });
  desk.places.unshift({ name: "Skipping a scan", here: () => here() && skipping(), due: skipping, keys: skipKeys });
  desk.subscribe(what => {
    if (!here() || (what !== "load" && what !== "edit")) return;
    const right = document.querySelector("#annotate-right");
    if (right instanceof HTMLButtonElement) right.disabled = desk.dirty(); // what was changed is not as predicted
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
  const rejection = new Rejection();
  desk.places.unshift({
    name: "Review",
    here: () => shown("#review-list") !== null,
    due: () => rejection.due(),
    keys: reviewKeys(rejection),
  });
  // A second press meant for the correction before must not judge the one that has just come up.
  let proposedAt = -Infinity;
  const watched = new WeakSet();
  const watch = () => {
    const facts = document.querySelector("#review-facts");
    if (!facts || watched.has(facts)) return;
    watched.add(facts);
    new MutationObserver(() => {
      proposedAt = performance.now();
      rejection.mark(false);
    }).observe(facts, { childList: true, subtree: true, characterData: true });
  };
  for (const kind of ["keydown", "pointerdown"]) document.addEventListener(kind, watch, true);
  document.addEventListener(
    "click",
    event => {
      if (!buttonOf(event)?.classList.contains(JUDGES)) return;
      const stop = () => event.stopImmediatePropagation();
      if (event.detail > 1 || performance.now() - proposedAt < JUST_COME_UP_MS) return stop();
      const unreasoned = closest(event, "#review-reject") && !rejection.field()?.value.trim();
      if (!unreasoned) return;
      stop();
      rejection.begin();
    },
    true,
  );
}
