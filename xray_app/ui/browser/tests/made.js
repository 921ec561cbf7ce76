// @ts-check
// Values for the tests.

/** @typedef {import("../types.js").Work} Work */
/** @typedef {import("../types.js").WorkBox} WorkBox */

/** @param {string} id @param {string} label @param {Partial<WorkBox>} [more] @returns {WorkBox} */
export function box(id, label, more = {}) {
  const plain = { source: /** @type {const} */ ("model"), status: /** @type {const} */ ("allowed") };
  return { id, label, confidence: 0.8, threat: false, xyxy: [10, 10, 50, 40], ...plain, ...more };
}

/** @param {string} label @param {number} count @param {number | null} [confidence]
 * @returns {import("../types.js").WorkItem} */
export function item(label, count, confidence = 0.9) {
  return { label, count, confidence, status: "allowed" };
}

/** @type {import("../types.js").WorkLabel[]} */
export const LABELS = [
  { name: "gun", status: "prohibited", aliases: ["guns", "pistol"] },
  { name: "knife", status: "prohibited", aliases: ["knives", "folding knife"] },
  { name: "lighter", status: "restricted", aliases: ["lighters"] },
  { name: "plastic bottle", status: "allowed", aliases: ["plastic bottles", "bottle"] },
];

/** @param {Partial<Work>} [more] @returns {Work} */
export function work(more = {}) {
  return {
    analysis_id: "a1",
    base_revision: 0,
    user: "ana",
    shown: "s",
    discard_draft: false,
    own: [],
    scan: { id: "s1", width: 200, height: 100, filename: "bag.png", view: null },
    boxes: [box("b1", "knife")],
    predicted: [],
    items: [item("knife", 1)],
    labels: LABELS,
    agreement: null,
    views: [],
    draft: null,
    readonly: false,
    answered: false,
    decided: null,
    open_view: null,
    seconds: null,
    dirty: false,
    ...more,
  };
}

/** Storage as a browser's tab has it. @returns {Storage} */
export function storage() {
  /** @type {Map<string, string>} */
  const kept = new Map();
  return {
    get length() {
      return kept.size;
    },
    clear: () => kept.clear(),
    key: index => [...kept.keys()][index] ?? null,
    getItem: key => kept.get(key) ?? null,
    setItem: (key, value) => void kept.set(key, value),
    removeItem: key => void kept.delete(key),
  };
}
