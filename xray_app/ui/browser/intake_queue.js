// @ts-check
// Which files are sent next, which wait, and what is said of it.

/** @typedef {{scanner: string, bag: string, view: string}} Facts what the fields said when the files were dropped */
/** @typedef {{file: File, facts: Facts}} Waiting */

export const MB = 1024 * 1024;
const AT_ONCE_SECONDS = 2;
const MOST_AT_ONCE = 8;
const MOST_BYTES = 24e6;
const TOLD_FROM_SECONDS = 20;
const MOST_TRIES = 3;

/** Systems leave files of their own in every folder. @param {string} name */
export function isScan(name) {
  return !name.startsWith(".") && !/^(thumbs\.db|desktop\.ini)$/i.test(name);
}

export class Intake {
  /** @param {number} mostBytes of one file @param {() => number} now milliseconds */
  constructor(mostBytes, now) {
    this.mostBytes = mostBytes;
    this.now = now;
    /** @type {Waiting[]} */
    this.waiting = [];
    /** @type {Waiting[]} */
    this.sent = [];
    /** @type {[name: string, reason: string][]} */
    this.refused = [];
    this.done = 0;
    this.all = 0;
    this.busy = false;
    /** Whether what is sent may have been analysed before. */
    this.resent = false;
    /** How often the files on their way did not all reach the desk. */
    this.missed = 0;
    this.started = 0;
    /** @type {number | null} seconds, of the last files */
    this.perScan = null;
    /** @type {number | null} seconds, over the last dozens of files: one slow scan does not make the time left jump */
    this.pace = null;
    /** @type {Facts | null} of the newest drop */
    this.dropped = null;
  }

  idle() {
    return !this.busy && !this.waiting.length;
  }

  /** Puts files into the queue; what the last drop had not read is put away with a new one.
   * @param {File[]} files @param {[string, string][]} problems @param {Facts} facts
   * @returns {number} how many can be sent */
  take(files, problems, facts) {
    if (this.idle()) {
      this.done = this.all = 0;
      this.refused = [];
    }
    this.refused.push(...problems);
    let fit = 0;
    for (const file of files.filter(one => isScan(one.name))) {
      if (file.size > this.mostBytes) {
        this.refused.push([file.name, `larger than ${Math.round(this.mostBytes / MB)} MB`]);
      } else if (!file.size) this.refused.push([file.name, "the file is empty"]);
      else {
        this.waiting.push({ file, facts });
        fit += 1;
      }
    }
    if (fit) this.dropped = facts;
    this.all += fit;
    return fit;
  }

  /** The next files, of one drop: one at first, then as many as are analysed in two seconds. None: null.
   * @returns {{files: File[], facts: Facts} | null} */
  next() {
    const first = this.waiting[0];
    if (!first) return null;
    const count =
      this.perScan === null ? 1 : Math.min(MOST_AT_ONCE, Math.max(1, Math.round(AT_ONCE_SECONDS / this.perScan)));
    let bytes = 0;
    this.sent = [];
    for (const one of this.waiting) {
      const room = this.sent.length < count && one.facts === first.facts && bytes + one.file.size <= MOST_BYTES;
      if (this.sent.length && !room) break;
      bytes += one.file.size;
      this.sent.push(one);
    }
    this.waiting.splice(0, this.sent.length);
    this.busy = true;
    this.started = this.now();
    return { files: this.sent.map(one => one.file), facts: first.facts };
  }

  /** The desk has answered. Where not all of the files on their way had reached it, they wait again.
   * @param {unknown} [taken] how many had
   * @returns {boolean} false: they did not for the third time, so that the person is to say when to go on */
  settled(taken) {
    if (typeof taken === "number" && taken < this.sent.length) {
      this.missed += 1;
      if (this.missed >= MOST_TRIES) return false;
      const before = this.resent;
      this.takeBack();
      this.resent = before || taken > 0; // what never came cannot have been analysed
      return true;
    }
    this.missed = 0;
    this.busy = this.resent = false;
    this.perScan = (this.now() - this.started) / 1000 / Math.max(1, this.sent.length);
    for (const _ of this.sent) this.pace = this.pace === null ? this.perScan : 0.95 * this.pace + 0.05 * this.perScan;
    this.done += this.sent.length;
    this.sent = [];
    return true;
  }

  /** The files on their way wait again; the desk may have analysed them before it fell silent. */
  takeBack() {
    this.waiting.unshift(...this.sent);
    this.sent = [];
    this.busy = false;
    this.resent = true;
  }

  /** What waits is dropped; what is on its way too, where there is no answer. @param {boolean} silent */
  cancel(silent) {
    this.all -= this.waiting.length;
    this.waiting = [];
    if (!silent) return;
    this.all -= this.sent.length;
    this.sent = [];
    this.busy = false;
  }

  /** The server knows a file by its place among those sent: its name there may have lost signs.
   * @param {{index: number, name: string, reason: string}} one */
  refuse({ index, name, reason }) {
    this.refused.push([this.sent[index]?.file.name ?? name, reason]);
  }

  /** @param {boolean} silent whether the desk does not answer */
  words(silent) {
    const now = Math.min(this.all, this.done + 1);
    if (silent) return `No answer at ${now} of ${this.all}`;
    const seconds = (this.waiting.length + this.sent.length) * (this.pace ?? this.perScan ?? 0);
    const left = seconds > TOLD_FROM_SECONDS ? `, ${Math.ceil(seconds / 60)} min` : "";
    return `Analysing ${now} of ${this.all}${left}`;
  }
}
