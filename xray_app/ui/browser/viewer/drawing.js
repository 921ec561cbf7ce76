// @ts-check
import { plural } from "../dom.js";
import { desk } from "../page_desk.js";
import { boxNode, ghostNode, labelNode } from "./box_nodes.js";
import { area } from "./geometry.js";

/** @typedef {import("./viewer.js").Viewer} Viewer */
/** @typedef {import("./viewer.js").Shown} Shown */

/** The boxes on the picture: predictions undermost, then frames, then names.
 * @param {Viewer} viewer @param {Shown} work @returns {SVGElement[]} */
export function nodesOf(viewer, work) {
  const { drag, proposed, selected, sight } = viewer;
  const unit = 1 / viewer.scale();
  const dragged = drag && drag.kind !== "pan" ? drag.box : null;
  const boxes = viewer.shownBoxes().map(box => (dragged?.id === box.id ? dragged : box));
  if (drag?.kind === "draw" && dragged) boxes.push(dragged);
  if (proposed) boxes.push(proposed);
  // Small boxes last, so that a knife on a laptop can be picked.
  const sorted = [...boxes].sort((a, b) => area(b) - area(a));
  const frames = sorted.map(box => {
    const lit = desk.hovered === box.label || desk.hovered === box.id;
    const chosen = box.id === selected;
    return boxNode(box, unit, { lit, chosen, handles: chosen && !work.readonly });
  });
  // Labels over all frames; the chosen one finds its place first.
  /** @type {import("./geometry.js").Plate[]} */
  const taken = [];
  const named = [...sorted].sort((a, b) => Number(a.id === selected) - Number(b.id === selected)).reverse();
  const labels = named
    .filter(box => box.label)
    .map(box => labelNode(box, unit, { alone: viewer.alone(box.label), taken, sight }))
    .reverse();
  const ghosts = viewer.ghosts ? work.predicted.map(box => ghostNode(box, unit)).reverse() : [];
  return [...ghosts, ...frames, ...labels];
}

/** The line under the picture, in parts. @param {Viewer} viewer @param {Shown} work */
export function lineOf(viewer, { scan, boxes, base_revision }) {
  const chosen = viewer.chosen();
  const parts = [`${scan.filename} · ${scan.width}×${scan.height}`];
  parts.push(plural(boxes.length, "box", "boxes"), `${Math.round(viewer.scale() * 100)} %`);
  if (viewer.hidden) parts.push("boxes hidden");
  if (viewer.proposed && !viewer.naming.open()) parts.push("arrows move it, Ctrl arrows size it, Enter names it");
  if (viewer.ghosts) parts.push(base_revision ? "prediction shown" : "not corrected yet");
  if (chosen) parts.push(`${chosen.label}: ${chosen.xyxy.map(Math.round).join(", ")}`);
  return parts;
}
