// @ts-check
// Unsaved edits, kept by the browser for as long as its tab lives.

/** @typedef {import("./types.js").Work} Work */
/** @typedef {import("./types.js").WorkBox} WorkBox */

/**
 * @typedef {object} Draft
 * @property {number} base_revision
 * @property {WorkBox[]} boxes
 * @property {import("./types.js").WorkItem[]} items
 * @property {boolean} handed sent to be saved or dropped, not answered yet
 * @property {boolean} since edited after that, before the answer
 * @property {boolean} [rebased] put on top of the revision that the answer made
 */

export class Drafts {
  /** @param {() => Storage} storage asked at each use: a browser may refuse it */
  constructor(storage) {
    this.storage = storage;
  }

  /** @param {Work} work @param {boolean} dirty @param {boolean} handed */
  write(work, dirty, handed = false) {
    const { base_revision, boxes, items } = work;
    const before = this.stored(work);
    const since = !handed && Boolean(before && (before.handed || before.since));
    try {
      if (handed || since || dirty) {
        this.storage().setItem(key(work), JSON.stringify({ base_revision, boxes, items, handed, since }));
      } else this.storage().removeItem(key(work));
    } catch {
      // Storage is full or blocked: the edits are still on the screen.
    }
  }

  /** @param {Work} work */
  forget(work) {
    try {
      this.storage().removeItem(key(work));
    } catch {
      // There is none.
    }
  }

  /** The unsaved edits of a scan. What was answered meanwhile goes; what was edited before the answer is put on top.
   * @param {Work} value @returns {Draft | null} */
  read(value) {
    const draft = this.stored(value);
    if (!draft) return null;
    const next = draft.base_revision + 1;
    const saved = value.own.includes(next);
    if (value.readonly || (draft.handed && (value.discard_draft || saved))) {
      this.forget(value);
      return null;
    }
    if (draft.since && saved && next === value.base_revision) {
      return { ...draft, rebased: true, boxes: withIds(draft.boxes, value.boxes) };
    }
    return draft.base_revision <= value.base_revision ? draft : null;
  }

  /** @param {Work} work @returns {Draft | null} */
  stored(work) {
    try {
      return JSON.parse(this.storage().getItem(key(work)) || "null");
    } catch {
      return null;
    }
  }
}

/** @param {Work} work */
function key(work) {
  return `xray-draft:${work.user}:${work.analysis_id}`;
}

/** Boxes drawn before a save got their ids by it.
 * @param {WorkBox[]} boxes @param {WorkBox[]} known */
function withIds(boxes, known) {
  const free = known.filter(box => !boxes.some(other => other.id === box.id));
  return boxes.map(box => {
    if (!box.id.startsWith("new-")) return box;
    const at = free.findIndex(other => other.label === box.label && String(other.xyxy) === String(box.xyxy));
    return at < 0 ? box : { ...box, id: free.splice(at, 1)[0].id };
  });
}
