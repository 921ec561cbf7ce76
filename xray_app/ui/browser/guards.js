// @ts-check
import { buttonOf, plural } from "./dom.js";
import { refuse } from "./refusals.js";

// What a button must not do by mistake. Each button says so where it is built, by classes of `presses.py`: Gradio
// gives its buttons no data attributes.
export const ONCE = "press-once";
export const ASKS = "press-asks";
export const DECIDES = "press-decides";
export const ANSWERS = "press-answers";
export const UNHURRIED = "press-unhurried";
export const NEEDS_PICTURE_TO_CLEAR = "press-needs-picture-to-clear";
export const NEEDS_PICTURE_TO_SAVE = "press-needs-picture-to-save";
export const SAVES_BOXES = "press-saves-boxes";
export const HANDS_OVER = "press-hands-over";
export const JUDGES = "press-judges";

const TWICE_MS = 250;
const ANSWERED_AFTER_MS = 400;
const ASKED_FOR_MS = 6000;
const NO_PICTURE = "The picture could not be loaded, so this scan cannot be ";
const TO_CLEAR = `${NO_PICTURE}cleared. Choose it again, or send it to review or search.`;
const TO_SAVE = `${NO_PICTURE}saved. Choose it again, or skip it.`;

/** Why a press is ignored where its button's classes and the desk's state say so; null: it counts.
 * @param {(name: string) => boolean} has whether the button bears a class
 * @param {{twice: boolean, hasWork: boolean, looked: boolean, picture: import("./types.js").PictureState}} state
 * @returns {{words: string | null} | null} */
export function refusal(has, { twice, hasWork, looked, picture }) {
  const hurried = hasWork && !looked;
  if (has(DECIDES) && hurried) return { words: null };
  if (picture === "broken") {
    if (has(NEEDS_PICTURE_TO_CLEAR)) return { words: TO_CLEAR };
    if (has(NEEDS_PICTURE_TO_SAVE)) return { words: TO_SAVE };
  }
  if ((has(ONCE) && twice) || (has(UNHURRIED) && hurried)) return { words: null };
  return null;
}

/** What a press on a button does that asks once: a key held down, or a double click, is no answer.
 * @param {number} askedAt @param {number} now milliseconds @param {number} clicks in a row
 * @returns {"ask" | "wait" | "do"} */
export function asking(askedAt, now, clicks) {
  const since = now - askedAt;
  if (since > ASKED_FOR_MS) return "ask";
  return clicks > 1 || since < ANSWERED_AFTER_MS ? "wait" : "do";
}

/** Asks before it stops or switches something; the question is in the button itself, and goes by itself.
 * @returns {(button: HTMLElement, clicks: number) => boolean} whether the press is the answer */
function askOnce() {
  /** @type {{button: HTMLElement, at: number} | null} */
  let asked = null;
  const away = () => {
    asked?.button.removeAttribute("data-asked");
    asked = null;
  };
  return (button, clicks) => {
    const now = performance.now();
    const step = asking(asked?.button === button ? asked.at : -Infinity, now, clicks);
    if (step === "wait") return false;
    away();
    if (step === "do") return true;
    const mine = (asked = { button, at: now });
    button.dataset.asked = "";
    setTimeout(() => asked === mine && away(), ASKED_FOR_MS);
    return false;
  };
}

/** A click meant for the bag before, or the second of a double click, does nothing; nor is what the slider hides
 * saved unseen. @param {import("./desk.js").Desk} desk */
export function guardPresses(desk) {
  let decidedAt = -Infinity;
  const answers = askOnce();
  document.addEventListener(
    "click",
    event => {
      const button = buttonOf(event);
      if (!button) return;
      /** @param {string} name */
      const has = name => button.classList.contains(name);
      const stop = () => event.stopImmediatePropagation();
      if (has(ANSWERS)) decidedAt = -Infinity; // answered: the next press is meant
      if (has(DECIDES)) {
        const now = performance.now();
        const again = event.detail > 1 || now - decidedAt < TWICE_MS;
        decidedAt = now;
        if (again) return stop();
      }
      const state = {
        twice: event.detail > 1,
        hasWork: desk.work !== null,
        looked: desk.looked(),
        picture: desk.picture,
      };
      const refused = refusal(has, state);
      if (refused) {
        stop();
        if (refused.words && !refuse(button, refused.words)) desk.say(refused.words);
        return;
      }
      if (has(ASKS) && !answers(button, event.detail)) return stop();
      const below = has(SAVES_BOXES) && desk.owner ? desk.owner.revealBoxes() : 0;
      if (below) {
        const many = plural(below, "hidden box", "hidden boxes");
        stop();
        // No refusal, which would hold the keys back: the same key saves, once they were seen.
        return desk.say(`${many} would be saved too: shown again. Delete what is wrong, then save.`);
      }
      if (has(HANDS_OVER)) desk.handOver();
    },
    true,
  );
}
