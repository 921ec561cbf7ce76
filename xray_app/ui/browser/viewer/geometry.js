// @ts-check
// Boxes and what is seen of a picture, in pixels of the scan.

/** @typedef {import("../types.js").Xyxy} Xyxy */
/** @typedef {{width: number, height: number}} Size */
/** @typedef {{x: number, y: number, w: number, h: number}} Sight what is seen of the picture */
/** @typedef {[number, number]} Point */

const LEAST_SIDE = 2;
const LEAST_SEEN = 16;
const MOST_SEEN = 1.6;

/** @param {number} value @param {number} low @param {number} high */
export const clamp = (value, low, high) => Math.min(high, Math.max(low, value));

/** @param {{xyxy: Xyxy}} box */
export const area = ({ xyxy: [x0, y0, x1, y1] }) => (x1 - x0) * (y1 - y0);

/** To a tenth of a pixel. @param {Xyxy} xyxy @returns {Xyxy} */
export function rounded(xyxy) {
  const [x0, y0, x1, y1] = xyxy.map(value => Math.round(value * 10) / 10);
  return [x0, y0, x1, y1];
}

/** The box between two corners, in whatever order. @param {Point} a @param {Point} b @returns {Xyxy} */
export function between([ax, ay], [bx, by]) {
  return [Math.min(ax, bx), Math.min(ay, by), Math.max(ax, bx), Math.max(ay, by)];
}

/** A box moved, as far as the picture goes.
 * @param {Xyxy} xyxy @param {number} dx @param {number} dy @param {Size} size @returns {Xyxy} */
export function shifted([x0, y0, x1, y1], dx, dy, { width, height }) {
  const right = clamp(dx, -x0, width - x1);
  const down = clamp(dy, -y0, height - y1);
  return [x0 + right, y0 + down, x1 + right, y1 + down];
}

/** A box with the sides of a handle ("nw", "e", …) moved; it never turns inside out.
 * @param {Xyxy} xyxy @param {string} handle @param {number} dx @param {number} dy @param {Size} size
 * @returns {Xyxy} */
export function stretched([x0, y0, x1, y1], handle, dx, dy, { width, height }) {
  const left = handle.includes("w") ? clamp(x0 + dx, 0, x1 - LEAST_SIDE) : x0;
  const right = handle.includes("e") ? clamp(x1 + dx, left + LEAST_SIDE, width) : x1;
  const top = handle.includes("n") ? clamp(y0 + dy, 0, y1 - LEAST_SIDE) : y0;
  const bottom = handle.includes("s") ? clamp(y1 + dy, top + LEAST_SIDE, height) : y1;
  return [left, top, right, bottom];
}

/** Where the handles of a box are. @param {Xyxy} xyxy @returns {[name: string, x: number, y: number][]} */
export function handles([x0, y0, x1, y1]) {
  const mx = (x0 + x1) / 2;
  const my = (y0 + y1) / 2;
  return [
    ["nw", x0, y0],
    ["n", mx, y0],
    ["ne", x1, y0],
    ["e", x1, my],
    ["se", x1, y1],
    ["s", mx, y1],
    ["sw", x0, y1],
    ["w", x0, my],
  ];
}

/** The smallest box under a point, so that a knife on a laptop can be picked.
 * @template {{xyxy: Xyxy}} Box
 * @param {readonly Box[]} boxes @param {Point} point @returns {Box | null} */
export function smallestUnder(boxes, [x, y]) {
  const under = boxes.filter(({ xyxy: [x0, y0, x1, y1] }) => x >= x0 && x <= x1 && y >= y0 && y <= y1);
  return under.sort((a, b) => area(a) - area(b))[0] ?? null;
}

/** The whole picture. @param {Size} size @returns {Sight} */
export const whole = ({ width, height }) => ({ x: 0, y: 0, w: width, h: height });

/** Part of the picture always stays in sight. @param {Sight} sight @param {Size} size @returns {Sight} */
export function keptInSight(sight, { width, height }) {
  const { w, h } = sight;
  return { x: clamp(sight.x, -w * 0.8, width - w * 0.2), y: clamp(sight.y, -h * 0.8, height - h * 0.2), w, h };
}

/** What is seen after zooming in by a factor around a point.
 * @param {Sight} sight @param {number} factor @param {Point | null} centre null: the middle @param {Size} size
 * @returns {Sight} */
export function zoomed(sight, factor, centre, size) {
  const w = clamp(sight.w / factor, Math.min(size.width, LEAST_SEEN), size.width * MOST_SEEN);
  const ratio = w / sight.w;
  const [cx, cy] = centre || [sight.x + sight.w / 2, sight.y + sight.h / 2];
  const seen = { x: cx - (cx - sight.x) * ratio, y: cy - (cy - sight.y) * ratio, w, h: sight.h * ratio };
  return keptInSight(seen, size);
}

/** A box in the middle of what is seen, a quarter as wide and high. @param {Sight} sight @param {Size} size */
export function inTheMiddle(sight, { width, height }) {
  const left = Math.max(0, sight.x);
  const top = Math.max(0, sight.y);
  const right = Math.min(width, sight.x + sight.w);
  const bottom = Math.min(height, sight.y + sight.h);
  const w = (right - left) / 4;
  const h = (bottom - top) / 4;
  const x = (left + right) / 2;
  const y = (top + bottom) / 2;
  return rounded([x - w / 2, y - h / 2, x + w / 2, y + h / 2]);
}

/** @typedef {{left: number, top: number, wide: number}} Plate a label's place */

/** Where a box's name goes: beside the box, where it hides no other name if it can.
 * @param {Xyxy} xyxy @param {{wide: number, high: number}} name @param {readonly Plate[]} taken @param {Sight} sight
 * @returns {Plate} */
export function plateOf([x0, y0, , y1], { wide, high }, taken, sight) {
  const left = clamp(x0, sight.x, Math.max(sight.x, sight.x + sight.w - wide));
  /** @param {number} top @param {Plate} other */
  const hides = (top, other) =>
    left < other.left + other.wide && other.left < left + wide && top < other.top + high && other.top < top + high;
  /** @param {number} top */
  const free = top => top >= sight.y && top + high <= sight.y + sight.h && !taken.some(other => hides(top, other));
  const tries = [y0 - high, y1, y0, y1 - high, y0 - 2 * high, y1 + high];
  return { left, top: tries.find(free) ?? Math.max(sight.y, y0 - high), wide };
}
