// @ts-check
// A list to choose a scan from: its name, its risk as word and shape, one line and a note. A click chooses.
import { add, copy, find } from "./dom.js";

/**
 * @typedef {object} Pick
 * @property {string} id of the analysis
 * @property {string} title
 * @property {string} level
 * @property {string} line
 * @property {string} note
 */
/**
 * @typedef {object} Picklist
 * @property {Pick[]} items
 * @property {string} [empty] said where there are none
 * @property {string | null} [current]
 * @property {string[]} [at_work]
 * @property {string} [chosen]
 */

/** @param {import("./types.js").Host<Picklist>} host */
export function mount({ element, props, trigger, watch }) {
  const rows = find(element, "ol", HTMLElement);
  const empty = find(element, ".picklist-empty", HTMLElement);
  const others = find(element, ".at-work", HTMLElement);

  /** @param {Pick} item @param {Picklist} value */
  function row(item, value) {
    const entry = document.createElement("li");
    const button = add(entry, "button", "", `pick ${item.level.toLowerCase()}`);
    button.type = "button";
    button.dataset.analysis = item.id;
    button.title = `${item.title}\n${item.line}`;
    button.setAttribute("aria-current", String(item.id === value.current));
    add(button, "span", item.level, "tile-level");
    add(button, "span", item.title, "pick-title");
    add(button, "span", item.line, "pick-line");
    if (item.note) add(button, "span", item.note, "pick-note");
    button.addEventListener("click", () => {
      // What is open is for the server to say: it may be somebody else's.
      props.value = { ...copy(value), chosen: item.id };
      trigger("select");
    });
    return entry;
  }
  function draw() {
    const value = props.value || { items: [] };
    empty.hidden = value.items.length > 0;
    empty.textContent = value.empty || "";
    rows.replaceChildren(...value.items.map(item => row(item, value)));
    others.replaceChildren();
    if (value.at_work?.length) {
      add(others, "h3", "At work");
      for (const words of value.at_work) add(others, "p", words);
    }
    rows.querySelector('[aria-current="true"]')?.scrollIntoView({ block: "nearest" });
  }
  watch("value", draw);
  draw();
}
