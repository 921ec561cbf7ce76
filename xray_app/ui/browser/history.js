// @ts-check

/** Undo and redo: states as text, the newest last. */
export class History {
  /** @param {number} most how many steps back are kept */
  constructor(most = 200) {
    this.most = most;
    /** @type {string[]} */
    this.past = [];
    /** @type {string[]} */
    this.future = [];
  }

  clear() {
    this.past = [];
    this.future = [];
  }

  /** Keeps the state before an edit; what was undone until then cannot be done again.
   * @param {string} before */
  record(before) {
    this.past.push(before);
    if (this.past.length > this.most) this.past.shift();
    this.future = [];
  }

  /** The state to go back to; null where there is none.
   * @param {string} now */
  undo(now) {
    return step(this.past, this.future, now);
  }

  /** @param {string} now */
  redo(now) {
    return step(this.future, this.past, now);
  }
}

/** @param {string[]} from @param {string[]} to @param {string} now */
function step(from, to, now) {
  const state = from.pop();
  if (state === undefined) return null;
  to.push(now);
  return state;
}
