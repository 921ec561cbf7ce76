// @ts-check
// Which boxes are shown, in which order the keys go through them, and what they may be called.

/** @typedef {import("../types.js").WorkBox} WorkBox */
/** @typedef {import("../types.js").WorkLabel} WorkLabel */
/** @typedef {import("../types.js").Xyxy} Xyxy */

/** A person's box always is; a model's from a confidence on. @param {WorkBox} box @param {number} threshold */
export function isShown(box, threshold) {
  return box.source === "human" || box.confidence == null || box.confidence >= threshold;
}

/** A box that was drawn and has no name yet. @param {Xyxy} xyxy @returns {WorkBox} */
export function unnamed(xyxy) {
  return { id: "drawing", source: "human", label: "", confidence: null, status: "drawing", threat: false, xyxy };
}

/** The server takes an id that starts with "new-" for none: it names the box. */
export function freshId() {
  return "new-" + crypto.getRandomValues(new Uint32Array(2)).join("-");
}

/** Boxes by doubt: what only the detector sees, then the least confident; a person's own come last.
 * @param {readonly WorkBox[]} boxes @param {(label: string) => boolean} alone whether only the detector names it
 * @returns {WorkBox[]} */
export function byDoubt(boxes, alone) {
  /** @param {WorkBox} box */
  const rank = box => [box.source === "human" ? 1 : 0, alone(box.label) ? 0 : 1, box.confidence ?? 1];
  return boxes
    .map(box => ({ box, rank: rank(box) }))
    .sort((a, b) => a.rank[0] - b.rank[0] || a.rank[1] - b.rank[1] || a.rank[2] - b.rank[2])
    .map(({ box }) => box);
}

/** The id after another's in a ring; the first or last where there is none.
 * @param {readonly {id: string}[]} order @param {string | null} id @param {number} by 1 or -1
 * @returns {string | null} */
export function nextId(order, id, by) {
  const count = order.length;
  if (!count) return null;
  const index = order.findIndex(box => box.id === id);
  if (index < 0) return order[by > 0 ? 0 : count - 1].id;
  return order[(index + by + count) % count].id;
}

/** Classes that fit what was typed, the best first: the name, then its beginning, then a word's, then any part.
 * @param {readonly WorkLabel[]} labels @param {string} typed @returns {WorkLabel[]} */
export function matching(labels, typed) {
  const words = normal(typed);
  /** @param {WorkLabel} entry */
  const rank = entry => {
    const names = [entry.name, ...entry.aliases].map(name => name.toLowerCase());
    if (names.some(name => name === words)) return 0;
    if (names.some(name => name.startsWith(words))) return 1;
    if (names.some(name => name.split(/[ -]/).some(part => part.startsWith(words)))) return 2;
    return names.some(name => name.includes(words)) ? 3 : null;
  };
  return labels
    .flatMap(entry => {
      const order = rank(entry);
      return order === null ? [] : [{ entry, order }];
    })
    .sort((a, b) => a.order - b.order)
    .map(({ entry }) => entry);
}

/** Classes to choose from while nothing is typed: the likely ones first.
 * @param {readonly WorkLabel[]} labels @param {readonly (string | null)[]} likely @param {string | null} current
 * @returns {WorkLabel[]} */
export function offered(labels, likely, current) {
  const others = labels.filter(entry => entry.name !== current);
  const first = likely.map(name => others.find(entry => entry.name === name)).filter(entry => entry !== undefined);
  return [...new Set([...first, ...others])];
}

/** @param {string} typed */
export function normal(typed) {
  return typed.trim().toLowerCase().replace(/[-_]/g, " ");
}
