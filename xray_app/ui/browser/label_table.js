// @ts-check
// The table of a data set's unknown labels: what each is here, and of a new class its name and status.
import { add, copy, find } from "./dom.js";

/**
 * @typedef {object} LabelRow
 * @property {string} label as the data set has it
 * @property {string} meaning a class, "ignore", NEW, or "" as long as nothing is said
 * @property {string} name of the new class
 * @property {string} status of the new class
 */
/** @typedef {{shown: string, classes: string[], rows: LabelRow[]}} LabelTable */

export const NEW = "new:";
const NOTHING_SAID = "";
const IGNORE = "ignore";
const STATUSES = ["prohibited", "restricted", "allowed"];
const HEADS = ["label in the data set", "what it is here", "name of the new class", "status"];
const TITLE = "Unknown labels: say what each is, then press Import again.";
const NOTE = " A new class counts at once and stays for good; prohibited is the safe side where you are not sure.";

/** What a label may be said to be: value and words, the new class before the many that are there.
 * @param {readonly string[]} classes @returns {[string, string][]} */
export function choices(classes) {
  return [
    [NOTHING_SAID, "say what it is …"],
    [NEW, "a new class …"],
    [IGNORE, "ignore its boxes"],
    ...classes.filter(name => name !== IGNORE).map(name => /** @type {[string, string]} */ ([name, name])),
  ];
}

/** The table with one row changed.
 * @param {LabelTable} table @param {number} at @param {Partial<LabelRow>} said @returns {LabelTable} */
export function withSaid(table, at, said) {
  return { ...table, rows: table.rows.map((row, place) => (place === at ? { ...row, ...said } : row)) };
}

/** @param {HTMLElement} cell @param {string} name @param {[string, string][]} offered @param {string} chosen */
function addSelect(cell, name, offered, chosen) {
  const select = add(cell, "select", "");
  select.setAttribute("aria-label", name);
  for (const [value, words] of offered) add(select, "option", words).value = value;
  select.value = chosen;
  return select;
}

/** @param {import("./types.js").Host<LabelTable>} host */
export function mount({ element, props, watch }) {
  const title = find(element, "p", HTMLElement);
  const head = find(element, "thead", HTMLElement);
  const body = find(element, "tbody", HTMLElement);
  /** @type {string | undefined} */
  let drawn;

  /** @param {number} at @param {Partial<LabelRow>} said */
  function say(at, said) {
    if (props.value) props.value = withSaid(copy(props.value), at, said);
  }

  /** @param {LabelRow} row @param {number} at @param {readonly string[]} classes */
  function rowOf({ label, meaning, name, status }, at, classes) {
    const line = document.createElement("tr");
    add(line, "th", label).scope = "row";
    const select = addSelect(add(line, "td", ""), `what ${label} is`, choices(classes), meaning);
    const called = add(add(line, "td", ""), "input", "");
    called.value = name;
    called.maxLength = 40;
    called.spellcheck = false;
    called.setAttribute("aria-label", `name of the new class for ${label}`);
    const each = STATUSES.map(one => /** @type {[string, string]} */ ([one, one]));
    const rated = addSelect(add(line, "td", ""), `status of the new class for ${label}`, each, status);
    const showNew = () => line.classList.toggle("new-class", select.value === NEW);
    select.addEventListener("change", () => {
      say(at, { meaning: select.value });
      showNew();
      if (select.value === NEW) called.select();
    });
    called.addEventListener("input", () => say(at, { name: called.value }));
    rated.addEventListener("change", () => say(at, { status: rated.value }));
    showNew();
    return line;
  }

  function draw() {
    const table = props.value;
    if (drawn === table?.shown) return; // what was said here comes back as a new value
    drawn = table?.shown;
    title.replaceChildren();
    add(title, "b", TITLE);
    add(title, "span", NOTE);
    head.replaceChildren();
    const heads = add(head, "tr", "");
    for (const words of HEADS) add(heads, "th", words).scope = "col";
    body.replaceChildren(...(table?.rows ?? []).map((row, at) => rowOf(row, at, table?.classes ?? [])));
  }
  watch("value", draw);
  draw();
}
