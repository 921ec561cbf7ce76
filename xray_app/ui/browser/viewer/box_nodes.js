// @ts-check
import { shape } from "../dom.js";
import { handles, plateOf } from "./geometry.js";

/** @typedef {import("../types.js").WorkBox} WorkBox */

const HANDLE = 8;
const LABEL_HIGH = 17;
const LETTER_WIDE = 7.1;

/** @param {import("../types.js").Xyxy} xyxy */
export const rectOf = ([x0, y0, x1, y1]) => ({ x: x0, y: y0, width: x1 - x0, height: y1 - y0 });

/** A box's frame. @param {WorkBox} box @param {number} unit one pixel of the screen
 * @param {{lit: boolean, chosen: boolean, handles: boolean}} how */
export function boxNode(box, unit, how) {
  const frame = rectOf(box.xyxy);
  const marks = `${how.chosen ? " chosen" : ""}${how.lit ? " lit" : ""}`;
  const node = shape("g", { class: `box frame ${box.status} ${box.source}${marks}`, "data-id": box.id });
  for (const name of ["halo", "line", "hit"]) node.append(shape("rect", { ...frame, class: name }));
  if (!how.handles) return node;
  const side = HANDLE * unit;
  for (const [name, x, y] of handles(box.xyxy)) {
    const at = { x: x - side / 2, y: y - side / 2, width: side, height: side };
    node.append(shape("rect", { ...at, class: "handle", "data-handle": name, style: `cursor:${name}-resize` }));
  }
  return node;
}

/** What follows the name, by who drew the box. */
const DRAWN_BY = { model: "", vlm: " VLM", human: " ✎" };

/** A box's name: ▲ a threat, ≠ named by the detector alone, VLM placed by it, ✎ a person's.
 * @param {WorkBox} box @param {boolean} alone */
export function nameOf({ label, threat, source, confidence }, alone) {
  const before = (threat ? "▲ " : "") + (source === "model" && alone ? "≠ " : "");
  const sure = confidence == null ? "" : ` ${Math.round(confidence * 100)} %`;
  return before + label + sure + DRAWN_BY[source];
}

/** A box's name on a plate; takes its place among the others.
 * @param {WorkBox} box @param {number} unit
 * @param {{alone: boolean, taken: import("./geometry.js").Plate[], sight: import("./geometry.js").Sight}} how */
export function labelNode(box, unit, { alone, taken, sight }) {
  const words = nameOf(box, alone);
  const high = LABEL_HIGH * unit;
  const wide = (words.length * LETTER_WIDE + 10) * unit;
  const plate = plateOf(box.xyxy, { wide, high }, taken, sight);
  taken.push(plate);
  const node = shape("g", { class: `box ${box.status}`, "data-id": box.id });
  const { left, top } = plate;
  const text = shape("text", { x: left + 5 * unit, y: top + 12.5 * unit, "font-size": 12 * unit });
  text.textContent = words;
  node.append(shape("rect", { x: left, y: top, width: wide, height: high, class: "plate" }), text);
  return node;
}

/** A box as the detector drew it, under the corrected ones. @param {WorkBox} box @param {number} unit */
export function ghostNode({ xyxy, label }, unit) {
  const node = shape("g", { class: "ghost" });
  const text = shape("text", { x: xyxy[0] + 3 * unit, y: xyxy[3] - 4 * unit, "font-size": 11 * unit });
  text.textContent = `predicted: ${label}`;
  node.append(shape("rect", rectOf(xyxy)), text);
  return node;
}
