// The queue: one tile a scan, with its risk as word, shape and colour. A click opens it.
const desk = window.xrayDesk.of(element);
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
  let waiting = 0, divided = false;
  list.replaceChildren(...value.items.flatMap(item => {
    const nodes = [];
    if (!item.decision) waiting += 1;
    if (item.decision && !divided) { divided = true; const label = document.createElement("li"); label.className = "divider"; label.textContent = waiting ? "decided" : "all decided"; nodes.push(label); }
    const tile = document.createElement("li"), button = document.createElement("button");
    button.type = "button";
    button.dataset.analysis = item.id;
    button.title = item.filename;
    button.className = `tile ${item.level.toLowerCase()}${item.decision ? " done" : ""}`;
    button.setAttribute("aria-current", String(item.id === current));
    const picture = document.createElement("img");
    picture.loading = "lazy"; picture.decoding = "async"; picture.alt = "";
    picture.addEventListener("error", () => { picture.style.visibility = "hidden"; });
    picture.src = `../v1/scans/${encodeURIComponent(item.scan_id)}/image`;
    button.append(picture);
    text(button, "span", item.level, "tile-level");
    text(button, "span", item.filename, "tile-name");
    if (item.decision) text(button, "span", `✓ ${item.decision}`, "tile-decision");
    button.addEventListener("click", () => choose(item.id));
    tile.append(button);
    nodes.push(tile);
    return nodes;
  }));
  const now = list.querySelector('[aria-current="true"]');
  if (now) keepInSight(now);
}
/** Like scrollIntoView, but of the queue alone: that would scroll the whole desk. */
function keepInSight(tile) {
  const frame = element.closest("#strip"), view = frame.getBoundingClientRect(), at = tile.getBoundingClientRect();
  if (at.top < view.top) frame.scrollTop -= view.top - at.top + 8;
  else if (at.bottom > view.bottom) frame.scrollTop += at.bottom - view.bottom + 8;
}
function choose(id) {
  current = id;
  props.value = { ...JSON.parse(JSON.stringify(props.value)), current: id };
  draw();
  trigger("select");
}
watch("value", draw);
draw();
