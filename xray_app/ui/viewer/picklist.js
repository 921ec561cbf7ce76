// A list to choose a scan from: its name, its risk as word and shape, one line and a note. A click chooses.
const rows = element.querySelector("ol"), empty = element.querySelector(".picklist-empty"), others = element.querySelector(".at-work");
const part = (parent, name, words, className) => {
  const node = document.createElement(name);
  node.textContent = words;
  node.className = className;
  parent.append(node);
  return node;
};
function draw() {
  const value = props.value || { items: [] };
  empty.hidden = value.items.length > 0;
  empty.textContent = value.empty || "";
  rows.replaceChildren(...value.items.map(item => {
    const row = document.createElement("li"), button = document.createElement("button");
    button.type = "button";
    button.className = `pick ${item.level.toLowerCase()}`;
    button.dataset.analysis = item.id;
    button.title = `${item.title}\n${item.line}`;
    button.setAttribute("aria-current", String(item.id === value.current));
    part(button, "span", item.level, "tile-level");
    part(button, "span", item.title, "pick-title");
    part(button, "span", item.line, "pick-line");
    if (item.note) part(button, "span", item.note, "pick-note");
    button.addEventListener("click", () => {
      // What is open is for the server to say: it may be somebody else's.
      props.value = { ...JSON.parse(JSON.stringify(props.value)), chosen: item.id };
      trigger("select");
    });
    row.append(button);
    return row;
  }));
  others.replaceChildren();
  if (value.at_work && value.at_work.length) {
    part(others, "h3", "At work", "");
    for (const words of value.at_work) part(others, "p", words, "");
  }
  const now = rows.querySelector('[aria-current="true"]');
  if (now) now.scrollIntoView({ block: "nearest" });
}
watch("value", draw);
draw();
