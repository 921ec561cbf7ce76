// @ts-check
import { closest } from "./dom.js";

/** After a decision: a few seconds in which one key takes it back. Returns what offers it.
 * @param {import("./desk.js").Desk} desk @returns {() => void} */
export function undoOffer(desk) {
  /** @type {string | undefined} */
  let offered;
  let withdrawing = 0;
  document.addEventListener("click", event => closest(event, "#undo-decision")?.classList.remove("offered"));
  return () => {
    const told = document.querySelector("#said [data-undo]");
    const button = document.querySelector("#undo-decision");
    if (!(button instanceof HTMLElement)) return;
    if (!(told instanceof HTMLElement)) {
      button.classList.remove("offered");
      return;
    }
    if (told.dataset.said === offered) return;
    offered = told.dataset.said;
    button.classList.remove("offered");
    void button.offsetWidth; // the bar that runs down starts anew
    button.classList.add("offered");
    clearTimeout(withdrawing);
    withdrawing = window.setTimeout(() => button.classList.remove("offered"), desk.undoFor);
  };
}
