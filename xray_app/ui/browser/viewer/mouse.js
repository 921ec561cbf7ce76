// @ts-check
// Mouse, pen and touch on the picture, and the space bar that pans it.
import { desk } from "../page_desk.js";
import { between, clamp, rounded, shifted, smallestUnder, stretched } from "./geometry.js";
import { unnamed } from "./boxes.js";

/** @typedef {import("../types.js").WorkBox} WorkBox */
/** @typedef {import("./geometry.js").Point} Point */
/** @typedef {import("./geometry.js").Sight} Sight */
/** @typedef {import("./viewer.js").Viewer} Viewer */

/** @typedef {{kind: "pan", from: Point, sight: Sight}} Pan */
/** @typedef {{kind: "draw", at: Point, box: WorkBox | null}} Draw */
/** @typedef {{kind: "move" | "resize", handle: string, at: Point, from: WorkBox, box: WorkBox}} Change */
/** @typedef {Pan | Draw | Change} Drag */

const LEAST_DRAWN = 4; // pixels of the screen
const ZOOM_PER_PIXEL = 0.0015;
const TAKES_SPACE = "input, textarea, button, a, summary, select, [role], [contenteditable=true]";

/** The box an event is on. @param {Viewer} viewer @param {Event} event */
function boxUnder(viewer, event) {
  const node = event.target instanceof Element ? event.target.closest("[data-id]") : null;
  return node ? viewer.boxOf(node.getAttribute("data-id")) : undefined;
}

/** What a press begins; undefined: it is not the picture's. @param {Viewer} viewer @param {PointerEvent} event
 * @returns {Drag | null | undefined} */
function dragFrom(viewer, event) {
  const work = viewer.work();
  if (!work) return undefined;
  if (event.button === 1 || viewer.spaced || event.shiftKey) {
    return { kind: "pan", from: [event.clientX, event.clientY], sight: { ...viewer.sight } };
  }
  if (event.button !== 0) return undefined;
  const at = viewer.point(event);
  const handle = event.target instanceof Element ? event.target.getAttribute("data-handle") : null;
  const box = boxUnder(viewer, event);
  const moves = box && !handle && !viewer.arming;
  if (moves) viewer.selected = box.id;
  if (work.readonly) return null;
  if (box && handle) return { kind: "resize", handle, at, from: box, box: { ...box } };
  if (moves) return { kind: "move", handle: "", at, from: box, box: { ...box } };
  const { width, height } = work.scan;
  return { kind: "draw", at: [clamp(at[0], 0, width), clamp(at[1], 0, height)], box: null };
}

/** @param {Viewer} viewer @param {Drag} drag @param {PointerEvent} event */
function dragOn(viewer, drag, event) {
  const work = viewer.work();
  if (!work) return;
  const { width, height } = work.scan;
  if (drag.kind === "pan") {
    const per = 1 / viewer.scale();
    const [x, y] = drag.from;
    viewer.lookAt(drag.sight.x - (event.clientX - x) * per, drag.sight.y - (event.clientY - y) * per);
    return;
  }
  const [x, y] = viewer.point(event);
  if (drag.kind === "draw") {
    drag.box = unnamed(between(drag.at, [clamp(x, 0, width), clamp(y, 0, height)]));
    return;
  }
  const dx = x - drag.at[0];
  const dy = y - drag.at[1];
  drag.box.xyxy =
    drag.kind === "move"
      ? shifted(drag.from.xyxy, dx, dy, work.scan)
      : stretched(drag.from.xyxy, drag.handle, dx, dy, work.scan);
}

/** @param {Viewer} viewer @param {Drag | null} drag @param {PointerEvent} event */
function drop(viewer, drag, event) {
  if (drag?.kind === "draw") {
    const [x0, y0, x1, y1] = drag.box?.xyxy ?? [0, 0, 0, 0];
    if (Math.min(x1 - x0, y1 - y0) * viewer.scale() >= LEAST_DRAWN) {
      viewer.arm(false);
      viewer.propose(rounded([x0, y0, x1, y1]));
      return;
    }
    // A click: the smallest box under the pointer, or none.
    viewer.selected = smallestUnder(viewer.shownBoxes(), viewer.point(event))?.id ?? null;
  } else if (drag && drag.kind !== "pan") viewer.place(drag.from.id, drag.box.xyxy);
  viewer.draw();
}

/** @param {Viewer} viewer */
export function listenToMouse(viewer) {
  const { svg, stage } = viewer;
  svg.addEventListener("pointerdown", event => {
    if (!viewer.work()) return;
    viewer.naming.close(false);
    const drag = dragFrom(viewer, event);
    if (drag === undefined) return;
    viewer.drag = drag;
    svg.setPointerCapture(event.pointerId);
    svg.focus({ preventScroll: true });
    event.preventDefault();
    viewer.draw();
  });
  svg.addEventListener("pointermove", event => {
    if (!viewer.drag) {
      desk.hover(boxUnder(viewer, event)?.id ?? null);
      return;
    }
    dragOn(viewer, viewer.drag, event);
    viewer.draw();
  });
  svg.addEventListener("pointerup", event => {
    const { drag } = viewer;
    viewer.drag = null;
    drop(viewer, drag, event);
  });
  svg.addEventListener("pointercancel", () => {
    viewer.drag = null;
    viewer.draw();
  });
  svg.addEventListener("pointerleave", () => {
    if (!viewer.drag) desk.hover(null);
  });
  svg.addEventListener("dblclick", () => {
    if (viewer.chosen()) viewer.naming.show();
  });
  const zoom = (/** @type {WheelEvent} */ event) => {
    event.preventDefault();
    viewer.zoom(Math.exp(-event.deltaY * ZOOM_PER_PIXEL), viewer.point(event));
  };
  svg.addEventListener("wheel", zoom, { passive: false });
  document.addEventListener("keydown", event => {
    if (event.code !== "Space" || (document.activeElement !== svg && !stage.matches(":hover"))) return;
    const { target } = event;
    if (target !== svg && target instanceof Element && target.matches(TAKES_SPACE)) return; // it has a use for the key
    event.preventDefault();
    viewer.spaced = true;
  });
  document.addEventListener("keyup", event => {
    if (event.code === "Space") viewer.spaced = false;
  });
}
