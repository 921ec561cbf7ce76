// --- labels: type a few letters, Enter ----------------------------------------------------------------------
let active = 0;
function propose(xyxy) {
  proposed = unnamed(xyxy);
  draw();
  openRelabel();
}
/** The box to be named: the one just drawn, the chosen one, or else the one in most doubt. */
function openRelabel() {
  if (!work()) return;
  if (!proposed && !boxOf(selected)) { selected = (doubtful()[0] || {}).id || null; draw(); }
  const box = proposed || boxOf(selected);
  if (!box || work().readonly) return;
  const matrix = svg.getScreenCTM(), frame = stage.getBoundingClientRect();
  const at = new DOMPoint(box.xyxy[0], box.xyxy[3]).matrixTransform(matrix);
  relabel.hidden = false;
  relabel.style.left = `${clamp(at.x - frame.left, 4, Math.max(4, frame.width - 234))}px`;
  relabel.style.top = `${clamp(at.y - frame.top + 6, 4, Math.max(4, frame.height - 270))}px`;
  typed.value = proposed ? "" : box.label;
  typed.select();
  suggest();
  typed.focus({ preventScroll: true });
}
function matches() {
  const words = typed.value.trim().toLowerCase().replace(/[-_]/g, " "), labels = work().labels;
  const current = boxOf(selected);
  if (!words || (!proposed && current && words === current.label.toLowerCase())) {
    // What the VLM alone names is likeliest to be what the box is; then what was chosen last.
    const others = proposed ? labels : labels.filter(entry => entry.name !== current.label);
    const likely = [...(work().agreement ? work().agreement.vlm_only : []), lastLabel];
    const first = likely.map(name => others.find(entry => entry.name === name)).filter(Boolean);
    return [...new Set([...first, ...others])];
  }
  const rank = entry => {
    const names = [entry.name, ...entry.aliases].map(name => name.toLowerCase());
    if (names.some(name => name === words)) return 0;
    if (names.some(name => name.startsWith(words))) return 1;
    if (names.some(name => name.split(/[ -]/).some(part => part.startsWith(words)))) return 2;
    return names.some(name => name.includes(words)) ? 3 : 9;
  };
  return labels.map(entry => [rank(entry), entry]).filter(([order]) => order < 9).sort((a, b) => a[0] - b[0]).map(([, entry]) => entry);
}
function suggest() {
  const found = matches().slice(0, 40);
  active = clamp(active, 0, Math.max(0, found.length - 1));
  choices.replaceChildren(...found.map((entry, index) => {
    const row = document.createElement("li");
    row.textContent = entry.name;
    if (index < 9) row.dataset.number = index + 1;
    row.className = entry.status + (index === active ? " active" : "");
    row.setAttribute("role", "option");
    row.setAttribute("aria-selected", String(index === active));
    row.addEventListener("pointerdown", event => { event.preventDefault(); take(entry); });
    return row;
  }));
  if (!found.length) {
    const none = document.createElement("li");
    none.className = "none";
    none.textContent = "No such class in this site's taxonomy.";
    choices.append(none);
  }
  const row = choices.children[active];
  if (row && (row.offsetTop < choices.scrollTop || row.offsetTop + row.offsetHeight > choices.scrollTop + choices.clientHeight)) choices.scrollTop = row.offsetTop - 60;
}
function take(entry) {
  lastLabel = entry.name;
  const fields = { label: entry.name, status: entry.status, threat: entry.status === "prohibited", source: "human", confidence: null };
  if (proposed) {
    const box = { id: freshId(), xyxy: proposed.xyxy, ...fields };
    proposed = null; selected = box.id;
    desk.edit(now => now.boxes.push(box));
  } else {
    const id = selected;
    desk.edit(now => { const box = now.boxes.find(other => other.id === id); if (box && box.label !== entry.name) Object.assign(box, fields); });
  }
  closeRelabel(true);
}
function closeRelabel(refocus) {
  const open = !relabel.hidden;
  relabel.hidden = true;
  active = 0;
  proposed = null;
  if (open) { draw(); if (refocus) svg.focus({ preventScroll: true }); }
}
typed.addEventListener("input", () => { active = 0; suggest(); });
function takeRow(index) { const found = matches()[index]; if (found) take(found); return Boolean(found); }
function step(by) { active += by; suggest(); return true; }
// No class of any taxonomy so far has a digit in its name: a digit takes the row that bears it.
const naming = {
  "ArrowDown": { run: () => step(1), shown: "arrows", help: "another name of the list" }, "ArrowUp": { run: () => step(-1) },
  "Enter": { run: () => takeRow(active) || true, help: "take the marked name" },
  "Ctrl+Enter": { run: () => { if (takeRow(active)) for (const id of ["save-correction", "annotate-save"]) desk.press(id); return true; }, help: "take it and save the correction" },
  "Escape": { run: () => { closeRelabel(true); return true; }, help: "close the list" },
};
for (let digit = 1; digit <= 9; digit++) naming[digit] = { run: () => takeRow(digit - 1), ...(digit === 1 && { shown: "1 to 9", help: "take the name with this number" }) };
typed.addEventListener("keydown", event => {
  const action = naming[(event.ctrlKey || event.metaKey ? "Ctrl+" : "") + event.key];
  if (action && action.run()) event.preventDefault();
  event.stopPropagation();
});
// For the list of keys; while it is open the field itself reads them.
if (!desk.places.some(place => place.name === "Naming a box")) desk.places.push({ name: "Naming a box", here: () => false, keys: naming });
typed.addEventListener("blur", () => setTimeout(() => { if (document.activeElement !== typed) closeRelabel(false); }, 150));
