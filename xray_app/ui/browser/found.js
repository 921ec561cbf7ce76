// @ts-check
// The search's results: one tile a scan, with its risk as word, shape and colour, and what became of it.
import { add, addThumbnail, copy, find } from "./dom.js";

/**
 * @typedef {object} Match
 * @property {string} id of the analysis
 * @property {string} scan_id
 * @property {string} filename
 * @property {"HIGH" | "MEDIUM" | "LOW"} level
 * @property {string} reason
 * @property {string | null} by the person who found it; null: the models
 * @property {"HIGH" | "MEDIUM" | "LOW"} models the models' own level
 * @property {string} when
 * @property {string} analyst
 * @property {string} scanner
 * @property {string | null} decision
 * @property {string | null} outcome
 * @property {string | null} correction
 * @property {boolean} differ
 * @property {{label: string, threat: boolean, by: string}[]} labels each with who named it
 * @property {string[]} found
 */
/** @typedef {{items: Match[], page?: number, chosen?: string}} Matches */

const MARKS = { HIGH: "⬣", MEDIUM: "▲", LOW: "●" };

/** What became of a scan, in words. @param {Match} item */
export function factsOf(item) {
  const said = item.by ? [item.reason] : [];
  if (item.models !== item.level) said.push(`models: ${item.models}`);
  if (item.decision) said.push(`✓ ${item.decision.toLowerCase()}`);
  if (item.outcome) said.push(`hand search: ${item.found.join(", ") || "nothing"}`);
  if (item.correction) said.push(`✎ ${item.correction === "pending" ? "waits for review" : item.correction}`);
  if (item.differ) said.push("≠ models differ");
  return said;
}

/** @param {import("./types.js").Host<Matches>} host */
export function mount({ element, props, trigger, watch }) {
  const list = find(element, "ol", HTMLElement);

  /** @param {Match} item */
  function rowOf(item) {
    const row = document.createElement("li");
    row.className = "match-item";
    const button = add(row, "button", "", `match ${item.level.toLowerCase()}`);
    button.type = "button";
    button.dataset.analysis = item.id;
    const scanner = item.scanner ? `\nscanner ${item.scanner}` : "";
    button.title = `${item.filename}\n${item.level}: ${item.reason}${scanner}`;
    const frame = add(button, "span", "", "match-picture");
    addThumbnail(frame, item.scan_id, () => {
      frame.textContent = "no picture";
    });
    add(button, "span", `${MARKS[item.level]} ${item.level}`, "match-level");
    const labels = add(button, "span", item.labels.length ? "" : "no items", "match-labels");
    for (const [index, one] of item.labels.entries()) {
      labels.append(`${index ? ", " : ""}${one.threat ? "▲ " : ""}${one.label} `);
      add(labels, "small", one.by);
    }
    add(button, "span", factsOf(item).join(" · ") || "not decided", "match-facts");
    add(button, "span", [item.when, item.analyst, item.scanner].filter(Boolean).join(" · "), "match-when");
    button.addEventListener("click", () => {
      props.value = { items: [], ...copy(props.value), chosen: item.id };
      trigger("select");
    });
    const report = add(row, "a", "Report", "match-report");
    report.href = `../v1/analyses/${encodeURIComponent(item.id)}/report`;
    report.target = "_blank";
    report.rel = "noopener";
    report.title = "report of this scan, to print (Shift P)";
    report.setAttribute("aria-label", `report of ${item.filename}, to print`);
    return row;
  }
  function draw() {
    list.replaceChildren(...(props.value?.items ?? []).map(rowOf));
  }
  /** @type {number | null | undefined} */
  let page = null;
  watch("value", () => {
    draw();
    const now = props.value?.page;
    const frame = element.closest("#found");
    if (now !== page && frame) frame.scrollTop = 0;
    page = now;
  });
  draw();
}
