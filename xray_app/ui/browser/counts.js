// @ts-check
// How many of each label: the items list follows the boxes.

/** @typedef {Pick<import("./types.js").Work, "boxes" | "items" | "labels">} Counted */

export const MOST = 99;

/** Boxes per label.
 * @param {readonly {label: string}[]} boxes */
export function boxCounts(boxes) {
  /** @type {Map<string, number>} */
  const counts = new Map();
  for (const box of boxes) counts.set(box.label, (counts.get(box.label) || 0) + 1);
  return counts;
}

/** @param {readonly import("./types.js").WorkLabel[]} labels @param {string} label
 * @returns {import("./types.js").Status} */
export function statusOf(labels, label) {
  return labels.find(entry => entry.name === label)?.status ?? "allowed";
}

/** Lists `count` of a label, in rank order; 0 takes it off the list.
 * @param {Counted} work @param {string} label @param {number} count */
export function setCount(work, label, count) {
  const { items } = work;
  const item = items.find(other => other.label === label);
  const most = Math.min(MOST, count);
  if (item?.count === most) return;
  if (item && most < 1) work.items = items.filter(other => other !== item);
  else if (item) Object.assign(item, { count: most, confidence: null });
  else if (most > 0) {
    items.push({ label, count: most, confidence: null, status: statusOf(work.labels, label) });
    const order = work.labels.map(entry => entry.name);
    items.sort((a, b) => order.indexOf(a.label) - order.indexOf(b.label));
  }
}

/** A drawn knife is listed, a deleted one is not. A count that somebody set apart from the boxes stays.
 * @param {Counted} work @param {ReadonlyMap<string, number>} before boxes per label before the edit */
export function follow(work, before) {
  const after = boxCounts(work.boxes);
  for (const label of new Set([...before.keys(), ...after.keys()])) {
    const was = before.get(label) || 0;
    const now = after.get(label) || 0;
    if (was === now) continue;
    const count = work.items.find(other => other.label === label)?.count ?? 0;
    setCount(work, label, count === was ? now : Math.max(count, now));
  }
}

/** Counts per label from the boxes. Items that never had a box stay, since not everything is boxed.
 * @param {Counted} work @param {Iterable<string>} loaded labels that had a box when the scan came up */
export function countFromBoxes(work, loaded) {
  const counts = new Map([...loaded].map(label => [label, 0]));
  for (const [label, count] of boxCounts(work.boxes)) counts.set(label, count);
  for (const [label, count] of counts) setCount(work, label, count);
}
