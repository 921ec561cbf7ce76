// @ts-check
import { analyseKeys } from "./analyse_keys.js";
import { press, visible } from "./dom.js";
import { openKeyHelp } from "./key_help.js";

/** @typedef {import("./types.js").Action} Action */
/** @typedef {import("./types.js").Place} Place */

const FIELD = "input:not([type=checkbox]):not([type=radio])";
const HELD = "Keys of one sign do nothing while a reason is due or a refusal stands. Escape leaves it.";
const TYPED_INTO = `${FIELD}, textarea, select, [contenteditable=true]`;

/** The names a key press may have in a table, the most exact first.
 * @param {Pick<KeyboardEvent, "key" | "ctrlKey" | "metaKey" | "shiftKey">} event */
export function namesOf({ key, ctrlKey, metaKey, shiftKey }) {
  if (ctrlKey || metaKey) {
    if (key.length > 1) return [`Ctrl+${key}`];
    return [`Ctrl+${shiftKey ? key.toUpperCase() : key.toLowerCase()}`];
  }
  return [shiftKey && /^[A-Z]$/.test(key) ? `Shift+${key}` : key, key.toLowerCase()];
}

/** The actions a press may mean, in the order of the places that are here.
 * @param {readonly Place[]} places @param {readonly string[]} names
 * @returns {Action[]} */
export function actionsFor(places, names) {
  return places
    .filter(place => place.here())
    .flatMap(place => names.map(name => place.keys[name]).find(Boolean) ?? [])
    .filter(action => action.run);
}

/** Whether a press types a sign: who meant words, with the caret elsewhere, must not set anything off.
 * @param {Pick<KeyboardEvent, "key" | "ctrlKey" | "metaKey">} event */
export function isSign({ key, ctrlKey, metaKey }) {
  return key.length === 1 && !ctrlKey && !metaKey;
}

/** Whether a press of a sign does nothing now: words are due somewhere on the screen, and it is not about them.
 * @param {readonly Place[]} places @param {Action} action */
export function isHeld(places, action) {
  return !action.answers && places.some(place => place.here() && place.due?.());
}

/** Whether an action holds where the key was pressed. @param {Action} action @param {Element} target */
function holds(action, target) {
  return action.from ? target.closest(action.from) !== null : target.closest(TYPED_INTO) === null;
}

/** Reads the keyboard by the desk's tables. @param {import("./desk.js").Desk} desk */
export function readKeys(desk) {
  const help = () => openKeyHelp(desk.places);
  const asked = () => visible(document.querySelector("#confirm"));
  const onScreen = () => [...document.querySelectorAll(".viewer-frame")].some(visible);
  /** @param {string} id @returns {(event: KeyboardEvent) => void} */
  const answer = id => event => {
    if (event.target instanceof HTMLElement) event.target.blur();
    press(id);
  };
  desk.places.push(
    {
      name: "The question about a HIGH bag",
      here: asked,
      due: asked,
      keys: {
        Escape: { run: answer("keep-bag"), from: "*", help: "do not clear it" },
        Enter: {
          run: answer("clear-anyway"),
          from: "#decision-note",
          help: "in the note: clear it, with this reason",
        },
      },
    },
    { name: "Analyse", here: () => visible(document.querySelector("#viewer")), keys: analyseKeys(desk) },
    {
      name: "Picture and boxes",
      here: onScreen,
      get keys() {
        return { ...desk.shared, ...desk.owner?.actions };
      },
    },
    { name: "Everywhere", here: () => true, keys: { "?": { run: help, help: "this list", answers: true } } },
  );
  document.addEventListener("keydown", event => {
    const target = event.target instanceof Element ? event.target : document.body;
    if (document.querySelector("dialog[open]") || event.altKey) return;
    const { key } = event;
    for (const action of actionsFor(desk.places, namesOf(event)).filter(found => holds(found, target))) {
      // A focused button keeps Enter and Space for itself.
      if ((key === "Enter" || key === " ") && !action.from && target.closest("button, a, summary")) return;
      if (event.repeat && action.once !== false) return;
      if (isSign(event) && isHeld(desk.places, action)) {
        desk.say(HELD);
        return;
      }
      if (action.run?.(event) === false) continue;
      event.preventDefault();
      return;
    }
    const oneLine = target instanceof HTMLElement && target.matches(`${FIELD}, textarea[rows='1']`);
    if (key === "Escape" && oneLine) target.blur(); // and the keys are the desk's again
  });
}
