// @ts-check
import { boxCounts, follow } from "./counts.js";
import { copy } from "./dom.js";
import { Drafts } from "./drafts.js";
import { History } from "./history.js";

/** @typedef {import("./types.js").Work} Work */
/** @typedef {import("./types.js").Change} Change */
/** @typedef {import("./types.js").Owner} Owner */

const SEEN_AFTER_SECONDS = 0.6;

/**
 * What the browser knows besides the page.
 * @typedef {object} Surroundings
 * @property {() => Storage} storage
 * @property {() => number} now milliseconds
 * @property {(words: string) => void} say tells the person something
 */

/** What the parts of the desk share: the work in hand (boxes and items being corrected), undo, drafts, the clock. */
export class Desk {
  /** @param {Surroundings} surroundings */
  constructor({ storage, now, say }) {
    this.now = now;
    this.say = say;
    this.drafts = new Drafts(storage);
    this.history = new History();
    /** @type {Set<(what: Change) => void>} */
    this.listeners = new Set();
    /** @type {string | null} */
    this.saved = null;
    /** @type {number | null} */
    this.shownAt = null;
    /** @type {Work | null} */
    this.work = null;
    /** @type {Set<string>} */
    this.loadedBoxLabels = new Set();
    /** @type {Owner | null} the viewer on the screen, which holds the work */
    this.owner = null;
    /** @type {string | null} label, or id of one box, lit in both the picture and the items table */
    this.hovered = null;
    /** @type {string | null} label of the chosen box */
    this.chosen = null;
    /** Confidence below which the models' boxes are not shown. */
    this.threshold = 0;
    /** @type {import("./types.js").PictureState} of the work */
    this.picture = null;
    /** Whether scans were dropped, and none has been opened since. */
    this.dropped = false;
    /** @type {Record<string, unknown> | undefined} what is known of the files on their way */
    this.sending = undefined;
    /** @type {string[]} the analyses that waited when the one on the screen was opened, in the order of their tiles */
    this.order = [];
    /** `read_at` of the queue that is drawn; none: 0. */
    this.queueReadAt = 0;
    /** @type {import("./types.js").Place[]} the first that is here wins */
    this.places = [];
    /** @type {import("./types.js").Keys} of every tab with a picture, beside the viewer's own */
    this.shared = {};
    /** For how many milliseconds a decision can be taken back by one key. */
    this.undoFor = 5000;
  }

  /** Calls `listener` at every change.
   * @param {(what: Change) => void} listener */
  subscribe(listener) {
    this.listeners.add(listener);
    if (this.work) listener("load");
  }

  /** @param {Change} what */
  tell(what) {
    for (const listener of this.listeners) {
      try {
        listener(what);
      } catch (fault) {
        console.error(fault);
      }
    }
  }

  /** Takes a new analysis or revision from the server; unsaved edits of the same revision come back.
   * @param {Work | null} value @param {Owner | null} [owner] */
  load(value, owner) {
    this.history.clear();
    this.owner = owner || this.owner;
    if (!value || !value.analysis_id) {
      this.work = this.picture = this.saved = this.shownAt = null;
      this.tell("load");
      return;
    }
    if (!this.work || this.work.analysis_id !== value.analysis_id || value.answered) this.shownAt = null;
    this.saved = snapshot(value);
    this.loadedBoxLabels = new Set(value.boxes.map(box => box.label));
    const work = copy(value);
    this.work = work;
    const kept = this.drafts.read(work);
    const draft = kept || value.draft;
    if (draft) {
      this.history.record(snapshot(work));
      work.boxes = draft.boxes;
      work.items = draft.items;
    }
    if (kept && !kept.rebased && kept.base_revision < value.base_revision) {
      work.base_revision = kept.base_revision; // the server settles it when they are saved
      this.say(
        `Revision ${value.base_revision} was saved since you began your edits. ` +
          "They are shown and not saved; Save lets you choose.",
      );
    }
    if (kept?.rebased) {
      this.drafts.forget(value);
      this.drafts.write(work, this.dirty());
    }
    this.tell("load");
  }

  /** A scan is looked at from the moment its own picture is there, or will not come.
   * @param {import("./types.js").PictureState} state */
  pictureIs(state) {
    this.picture = state;
    if (state !== "loading") this.shownAt ??= this.now();
  }

  /** One step of editing: `change(work)` mutates boxes or items; it can be undone.
   * @param {(work: Work) => void} change */
  edit(change) {
    if (!this.work || this.work.readonly) return;
    const before = snapshot(this.work);
    const counted = boxCounts(this.work.boxes);
    change(this.work);
    if (snapshot(this.work) === before) return;
    follow(this.work, counted);
    this.history.record(before);
    this.settle();
  }

  undo() {
    if (this.work) this.restore(this.history.undo(snapshot(this.work)));
  }

  redo() {
    if (this.work) this.restore(this.history.redo(snapshot(this.work)));
  }

  dirty() {
    return this.work !== null && snapshot(this.work) !== this.saved;
  }

  /** Marks the edits as sent: the answer decides whether they come back. */
  handOver() {
    if (this.work) this.drafts.write(this.work, this.dirty(), true);
  }

  /** How long the scan is looked at; null while its picture is still on the way. */
  seconds() {
    return this.shownAt === null ? null : Math.round((this.now() - this.shownAt) / 100) / 10;
  }

  /** Whether there was time to see the scan: a press sooner was meant for the one before. */
  looked() {
    const seconds = this.seconds();
    return seconds !== null && seconds >= SEEN_AFTER_SECONDS;
  }

  /** @param {string | null} label */
  hover(label) {
    if (label === this.hovered) return;
    this.hovered = label;
    this.tell("hover");
  }

  /** @param {string | null} state */
  restore(state) {
    if (state === null || !this.work) return;
    [this.work.boxes, this.work.items] = JSON.parse(state);
    this.settle();
  }

  settle() {
    if (this.work) this.drafts.write(this.work, this.dirty());
    this.tell("edit");
  }
}

/** What an edit changes, as text. @param {Work} work */
function snapshot(work) {
  return JSON.stringify([work.boxes, work.items]);
}
