// @ts-check
// Scans in: files and folders, dropped or chosen, handed to the desk a few at a time, so that the first is on the
// screen while the rest are still being read, and a cancel takes effect at once.
import { add, find, visible } from "./dom.js";
import { filesOf, holdsFiles } from "./dropped_files.js";
import { Intake, MB } from "./intake_queue.js";
import { desk } from "./page_desk.js";

/** @typedef {import("./intake_queue.js").Facts} Facts */

const NO_ANSWER_MS = 60_000;
const LOOK_AGAIN_MS = 50;
const LOOKS = 200;
const MOST_LISTED = 200;
const FROM_INTAKE = "from-intake";
const FIELDS = { scanner: "scanner-id", bag: "bag-id", view: "view-name" };
const OF_THE_BAG = /** @type {const} */ (["bag", "view"]);
const byName = new Intl.Collator(undefined, { numeric: true }).compare;

const transport = () => {
  const input = document.querySelector("#upload input[type=file]");
  return input instanceof HTMLInputElement ? input : null;
};
/** @param {keyof Facts} name */
const field = name => {
  const node = document.querySelector(`#${FIELDS[name]} input, #${FIELDS[name]} textarea`);
  return node instanceof HTMLInputElement || node instanceof HTMLTextAreaElement ? node : null;
};
/** @param {keyof Facts} name */
const said = name => field(name)?.value ?? "";

/**
 * What the desk says of the files on their way.
 * @typedef {object} Answer
 * @property {string} [token] another one at each answer
 * @property {number} [taken] how many files reached it
 * @property {{index: number, name: string, reason: string}[]} [refused]
 */

/** @param {import("./types.js").Host<Answer>} host */
export function mount({ element, props, watch }) {
  const progress = find(element, ".progress", HTMLElement);
  const words = find(element, ".progress-words", HTMLElement);
  const bar = find(element, ".bar", HTMLElement);
  const goOn = find(element, ".go-on", HTMLElement);
  const refusedHere = find(element, "#refused", HTMLElement);
  const folder = find(element, "input.folder", HTMLInputElement);
  const intake = new Intake((props.max_mb || 50) * MB, () => performance.now());
  let late = 0;
  let ended = false; // the event is over; its answer may come a moment later
  /** @type {string | undefined} of the answer that was read last */
  let read = undefined;

  /** @param {File[]} files @param {[string, string][]} [problems] */
  function take(files, problems = []) {
    if (intake.idle()) desk.dropped = true;
    const facts = { scanner: said("scanner"), bag: said("bag"), view: said("view") };
    const fit = intake.take(files, problems, facts);
    draw();
    if (!intake.busy && fit) send();
  }
  function send() {
    const sending = intake.next();
    if (!sending) {
      finish();
      return;
    }
    const bundle = new DataTransfer();
    for (const file of sending.files) bundle.items.add(file);
    desk.sending = { ...sending.facts, resent: intake.resent };
    hand(bundle.files, LOOKS);
  }
  /** Gradio takes its input away while files are on their way, and puts it back afterwards.
   * @param {FileList} files @param {number} looks */
  function hand(files, looks) {
    const input = transport();
    if (!input) {
      if (looks) setTimeout(() => hand(files, looks - 1), LOOK_AGAIN_MS);
      else stalled();
      return;
    }
    clearTimeout(late);
    late = window.setTimeout(stalled, NO_ANSWER_MS);
    goOn.hidden = true;
    ended = false;
    input.files = files;
    input.dispatchEvent(new CustomEvent("change", { bubbles: true, detail: FROM_INTAKE }));
    draw();
  }
  function settled() {
    const { token, taken } = props.value ?? {};
    if (!intake.busy || !ended || token === read) return;
    read = token;
    clearTimeout(late);
    goOn.hidden = true;
    // Gradio may have taken the files out of its field before it sent them.
    if (intake.settled(taken)) send();
    else stalled();
    draw();
  }
  /** No answer: the files that were on their way wait again, and the person says when to go on. */
  function stalled() {
    if (!intake.busy) return;
    clearTimeout(late);
    goOn.hidden = false;
    draw();
  }
  function resume() {
    if (!intake.busy) return;
    intake.takeBack();
    send();
  }
  function cancel() {
    intake.cancel(!goOn.hidden);
    if (!goOn.hidden) finish();
    draw();
  }
  function finish() {
    clearTimeout(late);
    // The bag's name and view were those of these scans: the next ones are of another bag, whose name may be there.
    for (const name of OF_THE_BAG) {
      const node = field(name);
      if (!node?.value || node.value !== intake.dropped?.[name]) continue;
      node.value = "";
      node.dispatchEvent(new Event("input", { bubbles: true }));
    }
    intake.dropped = null;
    draw();
  }
  function draw() {
    progress.hidden = intake.idle();
    words.textContent = intake.words(!goOn.hidden);
    const track = find(bar, "i", HTMLElement);
    track.style.width = `${intake.all ? (100 * intake.done) / intake.all : 0}%`;
    bar.setAttribute("aria-valuenow", String(intake.done));
    bar.setAttribute("aria-valuemax", String(intake.all));
    refusedHere.replaceChildren();
    if (intake.refused.length) drawRefused(intake.refused);
  }
  /** @param {[string, string][]} refused */
  function drawRefused(refused) {
    const box = add(refusedHere, "div", "", "refused");
    box.setAttribute("role", "alert");
    add(box, "strong", `${refused.length} not read:`);
    const away = add(box, "button", "×");
    away.type = "button";
    away.title = "put this list away";
    away.setAttribute("aria-label", "put this list away");
    away.addEventListener("click", () => {
      intake.refused = [];
      draw();
    });
    const list = add(box, "ul", "");
    for (const [name, reason] of refused.slice(0, MOST_LISTED)) add(list, "li", `${name}: ${reason}`);
    if (refused.length > MOST_LISTED) add(list, "li", `and ${refused.length - MOST_LISTED} more`);
  }

  // --- ways in ---------------------------------------------------------------------------------------------
  const here = () => visible(element);
  /** @param {DragEvent} event */
  const over = event => {
    if (!here() || !holdsFiles(event)) return;
    event.preventDefault();
    event.stopPropagation();
    element.classList.add("over");
  };
  /** @param {DragEvent} event */
  const drop = event => {
    element.classList.remove("over");
    if (!here() || !event.dataTransfer || !holdsFiles(event)) return;
    event.preventDefault();
    event.stopPropagation();
    void filesOf(event.dataTransfer).then(found => take(found.files, found.problems));
  };
  document.addEventListener("dragover", over, true);
  document.addEventListener("drop", drop, true);
  document.addEventListener("dragleave", event => {
    if (!event.relatedTarget) element.classList.remove("over");
  });
  // Files chosen by the desk's own field come this way too.
  const chosen = (/** @type {Event} */ event) => {
    const input = transport();
    if (!input || event.target !== input || (event instanceof CustomEvent && event.detail === FROM_INTAKE)) return;
    event.stopImmediatePropagation();
    const files = [...(input.files ?? [])];
    input.value = "";
    take(files);
  };
  document.addEventListener("change", chosen, true);
  folder.addEventListener("change", event => {
    event.stopPropagation();
    take([...(folder.files ?? [])].sort((a, b) => byName(a.webkitRelativePath, b.webkitRelativePath)));
    folder.value = "";
  });
  find(element, "#add-files", HTMLElement).addEventListener("click", () => transport()?.click());
  find(element, "#add-folder", HTMLElement).addEventListener("click", () => folder.click());
  find(element, ".cancel", HTMLElement).addEventListener("click", cancel);
  goOn.addEventListener("click", resume);
  window.addEventListener("beforeunload", event => {
    if (intake.waiting.length) event.preventDefault();
  });

  watch("value", () => {
    for (const one of props.value?.refused ?? []) intake.refuse(one);
    draw();
    settled();
  });
  desk.subscribe(what => {
    if (what === "intake-done") {
      ended = true;
      settled();
    } else if (what === "alarm" || what === "intake-failed") stalled();
  });
  draw();
}
