// @ts-check
// What was refused is said beside the control that was refused, and the focus goes there. Nothing is covered: the page
// makes room. What is about no control on the screen is said at the foot of the page, by Gradio.
import { add, buttonOf, closest, visible } from "./dom.js";

/** @typedef {import("./types.js").Place} Place */

const TOLD = ".toast-body.warning, .toast-body.error";
const TYPED_INTO = "textarea, input:not([type=checkbox]):not([type=radio])";
const TAKES_FOCUS = `[aria-current=true], textarea, input:not([type=hidden]), button`;
/** Where one line stands below the other. */
const STACK = ".column, .styler, .tabitem";

/** @param {Element} parent */
function stacks(parent) {
  if (parent.matches(STACK)) return true;
  return parent.matches(".form") && getComputedStyle(parent).flexDirection === "column";
}

/** The line of the page that a control stands in. @param {HTMLElement} control */
function lineOf(control) {
  /** @type {HTMLElement} */
  let line = control;
  while (line.parentElement && !stacks(line.parentElement)) line = line.parentElement;
  return line;
}

/** What is refused on the screen, those told at its foot included. */
function refusals() {
  return [...document.querySelectorAll(`.refusal, ${TOLD}`)].filter(visible);
}

/** Puts away what was said beside controls. */
function clear() {
  for (const refusal of document.querySelectorAll(".refusal")) refusal.remove();
}

/** Puts away whatever is refused, and gives the keys back to the desk. */
function putAway() {
  for (const refusal of refusals()) {
    const close = refusal.querySelector(".toast-close, .refusal-close");
    if (close instanceof HTMLElement) close.click();
  }
}

/** @param {HTMLElement} control */
function focus(control) {
  const { activeElement } = document;
  if (activeElement?.matches(TYPED_INTO) && !control.contains(activeElement)) return; // who types elsewhere by now
  const found = control.matches("button") ? control : control.querySelector(TAKES_FOCUS);
  if (found instanceof HTMLElement) found.focus();
}

/** Says beside a control why it did nothing.
 * @param {Element | null} control @param {string} words
 * @returns {boolean} whether it is on the screen */
export function refuse(control, words) {
  if (!visible(control)) return false;
  clear();
  const refusal = document.createElement("div");
  refusal.className = "refusal";
  refusal.setAttribute("role", "alert");
  add(refusal, "span", words);
  const close = add(refusal, "button", "×", "refusal-close");
  close.type = "button";
  close.title = "Put it away (Escape)";
  close.setAttribute("aria-label", "Put it away");
  close.addEventListener("click", () => {
    const { activeElement } = document; // Space is the picture's again, not the button's
    if (activeElement instanceof HTMLButtonElement && control.contains(activeElement)) activeElement.blur();
    refusal.remove();
  });
  control.addEventListener("input", () => refusal.remove(), { once: true });
  lineOf(control).after(refusal);
  focus(control);
  refusal.scrollIntoView({ block: "nearest" });
  return true;
}

/** Shows beside its control what the server says of an event that it refused.
 * @param {Record<string, unknown>} said a message of Gradio's: its title names the control, its words are HTML
 * @returns {boolean} whether it was shown */
export function showRefusal({ msg, title, log }) {
  if (msg !== "log" || typeof title !== "string" || !title.startsWith("#") || typeof log !== "string") return false;
  const words = document.createElement("template");
  words.innerHTML = log;
  return refuse(document.getElementById(title.slice(1)), words.content.textContent ?? "");
}

/** @returns {Place} */
function place() {
  return {
    name: "A refusal",
    here: () => refusals().length > 0,
    due: () => refusals().length > 0,
    keys: {
      Escape: { run: putAway, from: "*", help: "put it away; until then keys of one sign do nothing" },
    },
  };
}

/** A refusal goes with the scan it is about, and with the next press. @param {import("./desk.js").Desk} desk */
export function watchRefusals(desk) {
  desk.places.unshift(place());
  let shown = desk.work?.analysis_id;
  desk.subscribe(what => {
    if (what !== "load" || desk.work?.analysis_id === shown) return;
    shown = desk.work?.analysis_id;
    clear();
  });
  // Before any guard, which may refuse this press in turn. What the page presses by itself is hidden.
  window.addEventListener(
    "click",
    event => {
      if (visible(buttonOf(event)) && !closest(event, ".refusal, .toast-wrap")) clear();
    },
    true,
  );
}
