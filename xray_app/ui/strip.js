// The queue: one tile a scan, with its risk as word, shape and colour. A click opens it.
const desk = window.xrayDesk;
const list = element.querySelector("ol"), hint = element.querySelector(".strip-empty");
let current = null;

function text(parent, name, words, className) {
  const node = document.createElement(name);
  node.textContent = words;
  node.className = className;
  parent.append(node);
  return node;
}
function draw() {
  const value = props.value || { items: [] };
  if (value.current) current = value.current;
  else if (!value.keep_current && !desk.work) current = null;
  hint.hidden = value.items.length > 0;
  let section = null;
  const all = value.waiting || 0, titles = { flagged: "HIGH, yet cleared", waiting: all > 1 ? `${all} scans waiting` : "", searching: "searched: what was found?", done: all ? "decided" : "all decided" };
  list.replaceChildren(...value.items.flatMap(item => {
    const nodes = [];
    if (item.section !== section) {
      section = item.section;
      const label = document.createElement("li");
      label.className = `divider ${section}`;
      label.textContent = titles[section] || "";
      if (label.textContent) nodes.push(label);
    }
    const tile = document.createElement("li"), button = document.createElement("button");
    button.type = "button";
    button.dataset.analysis = item.id;
    button.title = item.filename;
    button.className = `tile ${item.level.toLowerCase()}${item.decision ? " done" : ""} ${item.section}`;
    button.setAttribute("aria-current", String(item.ids.includes(current)));
    const picture = document.createElement("img");
    picture.loading = "lazy"; picture.decoding = "async"; picture.alt = "";
    picture.addEventListener("error", () => { picture.style.visibility = "hidden"; });
    picture.src = `../v1/scans/${encodeURIComponent(item.scan_id)}/thumbnail`;
    button.append(picture);
    text(button, "span", item.level, "tile-level");
    text(button, "span", item.filename, "tile-name");
    if (item.views > 1) text(button, "span", `${item.views} views`, "tile-views");
    if (item.decision) text(button, "span", `✓ ${item.decision}`, "tile-decision");
    button.addEventListener("click", () => choose(item.id));
    tile.append(button);
    nodes.push(tile);
    return nodes;
  }));
  const now = list.querySelector('[aria-current="true"]');
  if (now) keepInSight(now);
  // A scan that has just come in is opened where nothing is, nor has been asked for meanwhile.
  if (value.offer && ((!desk.work && current === null) || (desk.dropped && finished(now)))) choose(value.offer);
}
/** Whether the open scan is decided and nothing is edited or typed about it: whoever then drops others has done with it. */
function finished(tile) {
  const typed = document.querySelectorAll(["outcome-found", "decision-note", "comment"].map(id => `#${id} input, #${id} textarea`).join());
  return Boolean(desk.work && tile && tile.classList.contains("done")) && !desk.work.answered && !desk.dirty() && ![...typed].some(field => field.value);
}
/** Like scrollIntoView, but of the queue alone: that would scroll the whole desk. */
function keepInSight(tile) {
  const frame = element.closest("#strip"), view = frame.getBoundingClientRect(), at = tile.getBoundingClientRect();
  if (at.top < view.top) frame.scrollTop -= view.top - at.top + 8;
  else if (at.bottom > view.bottom) frame.scrollTop += at.bottom - view.bottom + 8;
}
function choose(id) {
  desk.dropped = false;
  current = id;
  props.value = { ...JSON.parse(JSON.stringify(props.value)), current: id, offer: null };
  draw();
  trigger("select");
}
watch("value", draw);
draw();
