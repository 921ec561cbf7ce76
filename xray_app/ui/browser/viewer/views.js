// @ts-check
// The other views of the bag, side by side with the one at hand.
import { add, find, shape } from "../dom.js";
import { rectOf } from "./box_nodes.js";

/** @typedef {import("../types.js").WorkView} WorkView */

/** The views come in the order of their scans; after the last one follows the first.
 * @param {string} current @param {readonly string[]} others */
export function viewAfter(current, others) {
  const order = [current, ...others].sort();
  return order[(order.indexOf(current) + 1) % order.length];
}

export class OtherViews {
  /** @param {import("./viewer.js").Viewer} viewer */
  constructor(viewer) {
    this.viewer = viewer;
    this.frame = find(viewer.element, ".views", HTMLElement);
    this.drawn = "";
  }

  images() {
    return this.frame.querySelectorAll("image");
  }

  draw() {
    const found = this.viewer.work()?.views ?? [];
    const key = found.map(other => other.analysis_id).join(" ");
    if (key === this.drawn) return;
    this.drawn = key;
    this.frame.hidden = !found.length;
    this.frame.replaceChildren(...found.map(other => this.nodeOf(other)));
    this.viewer.filters.show();
  }

  openNext() {
    const work = this.viewer.work();
    if (!work?.views.length) return;
    const others = work.views.map(other => other.analysis_id);
    this.viewer.openView(viewAfter(work.analysis_id, others));
  }

  /** @param {WorkView} other */
  nodeOf(other) {
    const { width, height, id } = other.scan;
    const unit = Math.max(width, height) / 320;
    const frame = document.createElement("button");
    frame.type = "button";
    frame.className = `view ${other.level.toLowerCase()}`;
    frame.dataset.view = other.analysis_id;
    frame.title = "open this view (V: the next one)";
    const title = add(frame, "span", "", "view-title");
    add(title, "b", other.level);
    add(title, "span", other.name);
    const drawing = shape("svg", { viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "xMidYMid meet" });
    const href = `../v1/scans/${encodeURIComponent(id)}/image`;
    drawing.append(shape("image", { width, height, preserveAspectRatio: "none", href }));
    for (const box of other.boxes) {
      const [x, y0, , y1] = box.xyxy;
      const node = shape("g", { class: `box ${box.status}` });
      const y = y0 > 14 * unit ? y0 - 3 * unit : y1 + 12 * unit;
      const text = shape("text", { x, y, "font-size": 12 * unit, class: "view-label" });
      text.textContent = (box.threat ? "▲ " : "") + box.label;
      for (const name of ["halo", "line"]) node.append(shape("rect", { ...rectOf(box.xyxy), class: name }));
      node.append(text);
      drawing.append(node);
    }
    frame.append(drawing);
    frame.addEventListener("click", () => this.viewer.openView(other.analysis_id));
    return frame;
  }
}
