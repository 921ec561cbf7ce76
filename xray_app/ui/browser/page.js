// @ts-check
// The desk's browser code: run once, before Gradio builds the page. All modules are fetched here, so that a page
// never mixes two versions, and a component's script finds its module loaded.
import { watchAnswers } from "./alarms.js";
import { focusShown, sharedKeys } from "./analyse_keys.js";
import { annotate, review } from "./annotate.js";
import { settleClashes } from "./clash.js";
import { closest } from "./dom.js";
import { watchEvents } from "./event_stream.js";
import { makeRoomForMessages, showWordsAnew } from "./foot.js";
import { guardPresses } from "./guards.js";
import { readKeys } from "./keys.js";
import { desk } from "./page_desk.js";
import { watchRefusals } from "./refusals.js";
import { search } from "./search_keys.js";
import { keepTheme } from "./theme.js";
import { undoOffer } from "./undo_offer.js";
import "./found.js";
import "./intake.js";
import "./items.js";
import "./label_table.js";
import "./picklist.js";
import "./strip.js";
import "./viewer/viewer.js";

// The one global: Gradio's `js=` snippets read the clock and the edits from it.
Object.assign(window, { xrayDesk: Object.assign(desk, { focusShown, offerUndo: undoOffer(desk) }) });
desk.shared = sharedKeys(desk);
readKeys(desk);
guardPresses(desk);
watchAnswers(() => desk.tell("alarm"));
watchEvents(); // after it, so that the alarm sees every stream that is opened
annotate(desk);
review(desk);
search(desk);
settleClashes(desk);
watchRefusals(desk); // the last: its Escape goes before all others
keepTheme();
makeRoomForMessages();
showWordsAnew();

// A label named in the opinions lights its boxes, as a row of the items table does.
document.addEventListener("pointerover", event => {
  const chip = closest(event, "[data-hover-label]");
  if (!chip) return;
  desk.hover(chip.dataset.hoverLabel ?? null);
  chip.addEventListener("pointerleave", () => desk.hover(null), { once: true });
});
window.addEventListener("beforeunload", event => {
  if (desk.dirty()) event.preventDefault();
});
