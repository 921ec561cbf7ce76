// The search's results: one tile a scan, with its risk as word, shape and colour, and what became of it.
const list = element.querySelector("ol");
const MARKS = { HIGH: "⬣", MEDIUM: "▲", LOW: "●" };

function add(parent, name, words, className) {
  const node = document.createElement(name);
  node.textContent = words;
  node.className = className;
  parent.append(node);
  return node;
}
function facts(item) {
  const said = [];
  if (item.decision) said.push(`✓ ${item.decision.toLowerCase()}`);
  if (item.outcome) said.push(`hand search: ${item.found.join(", ") || "nothing"}`);
  if (item.correction) said.push(`✎ ${item.correction === "pending" ? "waits for review" : item.correction}`);
  if (item.differ) said.push("≠ models differ");
  return said;
}
function draw() {
  const value = props.value || { items: [] };
  list.replaceChildren(...value.items.map(item => {
    const row = document.createElement("li"), button = document.createElement("button");
    button.type = "button";
    button.dataset.analysis = item.id;
    button.className = `match ${item.level.toLowerCase()}`;
    button.title = `${item.filename}\n${item.level}: ${item.reason}${item.scanner ? `\nscanner ${item.scanner}` : ""}`;
    const frame = add(button, "span", "", "match-picture"), picture = document.createElement("img");
    picture.loading = "lazy"; picture.decoding = "async"; picture.alt = "";
    picture.addEventListener("error", () => { frame.textContent = "no picture"; });
    picture.src = `../v1/scans/${encodeURIComponent(item.scan_id)}/thumbnail`;
    frame.append(picture);
    add(button, "span", `${MARKS[item.level]} ${item.level}`, "match-level");
    add(button, "span", item.labels.map(one => (one.threat ? "▲ " : "") + one.label).join(", ") || "no items", "match-labels");
    add(button, "span", facts(item).join(" · ") || "not decided", "match-facts");
    add(button, "span", [item.when, item.analyst, item.scanner].filter(Boolean).join(" · "), "match-when");
    button.addEventListener("click", () => {
      props.value = { ...JSON.parse(JSON.stringify(props.value)), chosen: item.id };
      trigger("select");
    });
    const report = add(row, "a", "Report", "match-report");
    report.href = `../v1/analyses/${encodeURIComponent(item.id)}/report`;
    report.target = "_blank"; report.rel = "noopener"; report.title = "report of this scan, to print (Shift P)";
    report.setAttribute("aria-label", `report of ${item.filename}, to print`);
    row.className = "match-item";
    row.prepend(button);
    return row;
  }));
}
let page = null;
watch("value", () => {
  draw();
  const now = (props.value || {}).page;
  if (now !== page) element.closest("#found").scrollTop = 0;
  page = now;
});
draw();
