// --- mouse, pen, touch ------------------------------------------------------------------------------------
svg.addEventListener("pointerdown", event => {
  if (!work()) return;
  closeRelabel(false);
  const at = point(event);
  if (event.button === 1 || spaced || event.shiftKey) { drag = { kind: "pan", from: [event.clientX, event.clientY], view: { ...view } }; }
  else if (event.button !== 0) return;
  else {
    const target = event.target.closest("[data-id]"), handle = event.target.dataset.handle, box = target && boxOf(target.dataset.id);
    if (handle && box) drag = { kind: "resize", handle, at, from: box, box: { ...box } };
    else if (box && !arming) { selected = box.id; drag = { kind: "move", at, from: box, box: { ...box } }; }
    else drag = { kind: "draw", at: inside(at), box: null };
    if (work().readonly) drag = null;
  }
  svg.setPointerCapture(event.pointerId);
  svg.focus({ preventScroll: true });
  event.preventDefault();
  draw();
});
svg.addEventListener("pointermove", event => {
  if (!drag) {
    const target = event.target.closest && event.target.closest("[data-id]"), box = target && boxOf(target.dataset.id);
    desk.hover(box ? box.id : null);
    return;
  }
  if (drag.kind === "pan") {
    const per = 1 / scale();
    view = { ...view, x: drag.view.x - (event.clientX - drag.from[0]) * per, y: drag.view.y - (event.clientY - drag.from[1]) * per };
    keepInSight(work().scan.width, work().scan.height);
  } else if (drag.kind === "draw") {
    const [x, y] = inside(point(event)), [ax, ay] = drag.at;
    drag.box = unnamed([Math.min(ax, x), Math.min(ay, y), Math.max(ax, x), Math.max(ay, y)]);
  } else {
    const at = point(event), dx = at[0] - drag.at[0], dy = at[1] - drag.at[1];
    drag.box.xyxy = drag.kind === "move" ? shifted(drag.from.xyxy, dx, dy) : stretched(drag.from.xyxy, drag.handle, dx, dy);
  }
  draw();
});
svg.addEventListener("pointerup", event => {
  const done = drag;
  drag = null;
  if (!done || done.kind === "pan") { draw(); return; }
  if (done.kind === "draw") {
    const far = done.box && Math.min(done.box.xyxy[2] - done.box.xyxy[0], done.box.xyxy[3] - done.box.xyxy[1]) * scale() >= 4;
    if (far) { arming = false; stage.classList.remove("arming"); propose(rounded(done.box.xyxy)); return; }
    // A click: the smallest box under the pointer, or none.
    const [x, y] = point(event);
    const under = shownBoxes().filter(({ xyxy: [x0, y0, x1, y1] }) => x >= x0 && x <= x1 && y >= y0 && y <= y1).sort((a, b) => area(a) - area(b));
    selected = under.length ? under[0].id : null;
  } else place(done.from.id, done.box.xyxy);
  draw();
});
svg.addEventListener("pointercancel", () => { drag = null; draw(); });
svg.addEventListener("pointerleave", () => { if (!drag) desk.hover(null); });
svg.addEventListener("dblclick", () => { if (boxOf(selected)) openRelabel(); });
svg.addEventListener("wheel", event => { event.preventDefault(); zoom(Math.exp(-event.deltaY * 0.0015), point(event)); }, { passive: false });

const unnamed = xyxy => ({ id: "drawing", source: "human", label: "", confidence: null, status: "drawing", threat: false, xyxy });
const rounded = xyxy => {
  const [x0, y0, x1, y1] = xyxy.map(value => Math.round(value * 10) / 10);
  return [x0, y0, x1, y1];
};
function shifted([x0, y0, x1, y1], dx, dy) {
  const { width, height } = work().scan;
  dx = clamp(dx, -x0, width - x1); dy = clamp(dy, -y0, height - y1);
  return [x0 + dx, y0 + dy, x1 + dx, y1 + dy];
}
function stretched(xyxy, handle, dx, dy) {
  const { width, height } = work().scan, out = [...xyxy], least = 2;
  if (handle.includes("w")) out[0] = clamp(out[0] + dx, 0, out[2] - least);
  if (handle.includes("e")) out[2] = clamp(out[2] + dx, out[0] + least, width);
  if (handle.includes("n")) out[1] = clamp(out[1] + dy, 0, out[3] - least);
  if (handle.includes("s")) out[3] = clamp(out[3] + dy, out[1] + least, height);
  return out;
}
function place(id, xyxy) {
  const target = rounded(xyxy);
  desk.edit(now => {
    const box = now.boxes.find(other => other.id === id);
    if (box && JSON.stringify(rounded(box.xyxy)) !== JSON.stringify(target)) Object.assign(box, { xyxy: target, source: "human", confidence: null });
  });
}
