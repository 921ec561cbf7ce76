// What the parts of the desk share in the browser: the work in hand (boxes and items being corrected),
// its undo history, unsaved drafts, the clock, and the keys. Loaded once, in the page's head.
(() => {
  "use strict";
  const listeners = new Set();
  let past = [], future = [], saved = null, shownAt = null;
  const desk = (window.xrayDesk = {
    work: null,       // {analysis_id, base_revision, boxes, items, ...}: what the server sent, plus the edits
    loadedBoxLabels: new Set(),
    owner: null,      // the viewer on the screen, which holds the work
    hovered: null,    // label, or id of one box, lit in both the picture and the items table
    chosen: null,     // label of the chosen box
    threshold: 0,     // confidence below which the models' boxes are not shown
    picture: null,    // of the work: "loading", "loaded" or "broken"
    dropped: false,   // scans were dropped, and none has been opened since
    places: [],       // where keys hold: {name, here, keys: key -> {run, help, group}}; the first that is here wins
    actions: {},      // the keys of Analyse
    shared: {},       // the keys of every tab with a picture, beside the viewer's own

    /** Calls `listener(what)` at every change; `what` is "load", "edit", "hover", "threshold", "alarm" or "intake-done". */
    subscribe(listener) {
      listeners.add(listener);
      if (desk.work) listener("load");
    },
    tell(what) {
      for (const listener of listeners) {
        try { listener(what); } catch (fault) { console.error(fault); }
      }
    },

    /** Takes a new analysis or revision from the server; unsaved edits of the same revision come back. */
    load(value, owner) {
      past = []; future = [];
      desk.owner = owner || desk.owner;
      if (!value || !value.analysis_id) { desk.work = desk.picture = saved = shownAt = null; desk.tell("load"); return; }
      if (!desk.work || desk.work.analysis_id !== value.analysis_id || value.answered) shownAt = null;
      saved = JSON.stringify([value.boxes, value.items]);
      desk.loadedBoxLabels = new Set(value.boxes.map(box => box.label));
      desk.work = JSON.parse(JSON.stringify(value));  // the value may be a framework proxy, which structuredClone refuses
      const kept = readDraft(value), draft = kept || value.draft;
      if (draft) { past.push(snapshot()); desk.work.boxes = draft.boxes; desk.work.items = draft.items; }
      if (kept && !kept.rebased && kept.base_revision < value.base_revision) {
        desk.work.base_revision = kept.base_revision;  // the server settles it when they are saved
        desk.say(`Revision ${value.base_revision} was saved since you began your edits. They are shown and not saved; Save lets you choose.`);
      }
      if (kept && kept.rebased) { forgetDraft(value); writeDraft(); }
      desk.tell("load");
    },

    /** How the picture of the work is: a scan is looked at from the moment its own picture is there, or will not come. */
    pictureIs(state) {
      desk.picture = state;
      if (state !== "loading") shownAt ??= performance.now();
    },

    /** One step of editing: `change(work)` mutates boxes or items; it can be undone. */
    edit(change) {
      if (!desk.work || desk.work.readonly) return;
      const before = snapshot(), counted = boxCounts();
      change(desk.work);
      if (snapshot() === before) return;
      follow(counted);
      past.push(before);
      if (past.length > 200) past.shift();
      future = [];
      settle();
    },
    /** Within an edit: lists `count` of a label; 0 takes it off the list. */
    setCount(label, count) {
      const items = desk.work.items, item = items.find(other => other.label === label), most = Math.min(99, count);
      if (item && item.count === most) return;
      if (item && most < 1) desk.work.items = items.filter(other => other !== item);
      else if (item) Object.assign(item, { count: most, confidence: null });
      else if (most > 0) {
        items.push({ label, count: most, confidence: null, status: desk.statusOf(label) });
        const order = desk.work.labels.map(entry => entry.name);
        items.sort((a, b) => order.indexOf(a.label) - order.indexOf(b.label));
      }
    },
    undo() { step(past, future); },
    redo() { step(future, past); },
    dirty() { return Boolean(desk.work) && snapshot() !== saved; },
    /** How long the scan is looked at; null while its picture is still on the way. */
    seconds() { return shownAt === null ? null : Math.round((performance.now() - shownAt) / 100) / 10; },
    /** Whether there was time to see the scan: a press sooner was meant for the one before. */
    looked() { return desk.seconds() !== null && desk.seconds() >= 0.6; },
    hover(label) { if (label !== desk.hovered) { desk.hovered = label; desk.tell("hover"); } },
    statusOf(label) {
      const found = desk.work && desk.work.labels.find(entry => entry.name === label);
      return found ? found.status : "allowed";
    },
    plural(count, word) { return count === 1 ? `1 ${word}` : `${count} ${word}s`; },
  });

  function boxCounts() {
    const counts = new Map();
    for (const box of desk.work.boxes) counts.set(box.label, (counts.get(box.label) || 0) + 1);
    return counts;
  }
  /** Items follow boxes: a drawn knife is listed, a deleted one is not. A count that somebody set apart from the boxes stays. */
  function follow(before) {
    const after = boxCounts();
    for (const label of new Set([...before.keys(), ...after.keys()])) {
      const was = before.get(label) || 0, now = after.get(label) || 0;
      if (was === now) continue;
      const item = desk.work.items.find(other => other.label === label), count = item ? item.count : 0;
      desk.setCount(label, count === was ? now : Math.max(count, now));
    }
  }
  function snapshot() { return JSON.stringify([desk.work.boxes, desk.work.items]); }
  function restore(text) { [desk.work.boxes, desk.work.items] = JSON.parse(text); }
  function step(from, to) {
    if (!desk.work || !from.length) return;
    to.push(snapshot());
    restore(from.pop());
    settle();
  }
  function settle() { writeDraft(); desk.tell("edit"); }
  function draftKey(work) { return `xray-draft:${work.user}:${work.analysis_id}`; }
  function storedDraft(work) {
    try { return JSON.parse(sessionStorage.getItem(draftKey(work)) || "null"); } catch { return null; }
  }
  /** A draft is `handed` once it is sent to be saved or dropped; what is edited before the answer is `since`. */
  function writeDraft(handed = false) {
    const { base_revision, boxes, items } = desk.work, before = storedDraft(desk.work);
    const since = !handed && Boolean(before && (before.handed || before.since));
    try {
      if (handed || since || desk.dirty()) sessionStorage.setItem(draftKey(desk.work), JSON.stringify({ base_revision, boxes, items, handed, since }));
      else sessionStorage.removeItem(draftKey(desk.work));
    } catch { /* storage full or blocked: the edits are still on the screen */ }
  }
  function forgetDraft(work) { try { sessionStorage.removeItem(draftKey(work)); } catch { /* there is none */ } }
  /** The unsaved edits of a scan. What was answered meanwhile goes; what was edited before the answer is put on top of it. */
  function readDraft(value) {
    const draft = storedDraft(value);
    if (!draft) return null;
    const next = draft.base_revision + 1, saved = (value.own || []).includes(next);
    if (value.readonly || (draft.handed && (value.discard_draft || saved))) { forgetDraft(value); return null; }
    if (draft.since && saved && next === value.base_revision) return { ...draft, rebased: true, boxes: withIds(draft.boxes, value.boxes) };
    return draft.base_revision <= value.base_revision ? draft : null;
  }
  /** Boxes drawn before a save got their ids by it. */
  function withIds(boxes, known) {
    const free = known.filter(box => !boxes.some(other => other.id === box.id));
    return boxes.map(box => {
      const at = box.id.startsWith("new-") ? free.findIndex(other => other.label === box.label && String(other.xyxy) === String(box.xyxy)) : -1;
      return at < 0 ? box : { ...box, id: free.splice(at, 1)[0].id };
    });
  }

  // --- keys -------------------------------------------------------------------------------------------
  // A second press meant for the bag before must not decide about the one that has just come up.
  const decide = id => () => { if (desk.work && desk.looked()) press(id)(); };
  // A button that is not on the screen belongs to another tab, or is not meant to be pressed now.
  const visible = node => Boolean(node) && node.offsetParent !== null;
  const press = id => () => { const button = [...document.querySelectorAll(`#${id}`)].find(visible); if (button) (button.querySelector("button") || button).click(); };
  desk.press = id => press(id)();
  Object.assign(desk.actions, {
    "1": { run: decide("decide-clear"), help: "clear the bag", group: "Decision" },
    "2": { run: decide("decide-review"), help: "send to review", group: "Decision" },
    "3": { run: decide("decide-search"), help: "search by hand", group: "Decision" },
    "z": { run: press("undo-decision"), help: "undo the decision, for five seconds", group: "Decision" },
    "g": { run: press("next-scan"), help: "go on after a test image or a blind scan", group: "Decision" },
    "f": { run: () => desk.focusShown("#outcome", "#outcome-found textarea, #outcome-found input"), help: "say what the search found", group: "Decision" },
    "s": { run: press("save-correction"), help: "save the correction", group: "Correction" },
    "j": { run: () => move(1), help: "next scan", group: "Scans" },
    "k": { run: () => move(-1), help: "previous scan", group: "Scans" },
    "u": { run: press("add-files"), help: "add scans", group: "Scans" },
    "Shift+U": { run: press("add-folder"), help: "add a folder of scans", group: "Scans" },
    "Shift+X": { run: press("cancel-intake"), help: "cancel the scans that still wait to be analysed", group: "Scans" },
  });
  Object.assign(desk.shared, {
    "c": { run: press("counts-from-boxes"), help: "take the counts from the boxes", group: "Correction" },
    "Ctrl+z": { run: () => desk.undo(), once: false, help: "undo an edit", group: "Correction" },
    "Ctrl+y": { run: () => desk.redo(), once: false, help: "redo it (also Ctrl Shift Z)", group: "Correction" }, "Ctrl+Z": { run: () => desk.redo(), once: false },
    "Shift+P": { run: () => desk.work && desk.report(desk.work.analysis_id), help: "report of the scan, to print", group: "Picture" },
    "wheel": { mouse: true, help: "zoom", group: "Picture" }, "Space drag": { mouse: true, help: "move the picture", group: "Picture" },
  });
  /** A page of its own with everything about a scan; never the picture's own tab, which may hold unsaved edits. */
  desk.report = id => window.open(`../v1/analyses/${encodeURIComponent(id)}/report`, "_blank", "noopener");
  function move(by) {
    const tiles = [...document.querySelectorAll("#strip [data-analysis]")];
    const now = tiles.findIndex(tile => tile.getAttribute("aria-current") === "true");
    const next = tiles[Math.min(tiles.length - 1, Math.max(0, now + by))];
    if (next) next.click();
  }
  const typing = target => target instanceof Element && target.closest("input:not([type=checkbox]):not([type=radio]), textarea, select, [contenteditable=true]");
  const oneLine = target => target instanceof Element && target.matches("input:not([type=checkbox]):not([type=radio]), textarea[rows='1']");
  const onScreen = () => [...document.querySelectorAll(".viewer-frame")].some(visible);
  const viewersKeys = () => ({ ...desk.shared, ...(desk.owner ? desk.owner.actions : {}) });
  const asked = () => visible(document.querySelector("#confirm"));
  const answer = id => event => { event.target.blur(); press(id)(); };
  desk.places.push(
    { name: "The question about a HIGH bag", here: asked, keys: {
      "Escape": { run: answer("keep-bag"), from: "*", help: "do not clear it" },
      "Enter": { run: answer("clear-anyway"), from: "#decision-note", help: "in the note: clear it, with this reason" },
    } },
    { name: "Analyse", here: () => visible(document.querySelector("#viewer")), keys: desk.actions },
    { name: "Picture and boxes", here: onScreen, get keys() { return viewersKeys(); } },
    { name: "Everywhere", here: () => true, keys: { "?": { run: help, help: "this list" } } },
  );
  document.addEventListener("keydown", event => {
    if (document.querySelector("dialog[open]") || event.altKey) return;
    const mod = event.ctrlKey || event.metaKey, key = event.key;
    const names = [mod ? `Ctrl+${event.shiftKey && key.length === 1 ? key.toUpperCase() : key.length === 1 ? key.toLowerCase() : key}` : event.shiftKey && /^[A-Z]$/.test(key) ? `Shift+${key}` : key];
    if (!mod) names.push(key.toLowerCase());
    for (const place of desk.places) {
      if (!place.here()) continue;
      const action = names.map(name => place.keys[name]).find(Boolean);
      if (!action || !action.run || (action.from ? !event.target.closest(action.from) : typing(event.target))) continue;
      // A focused button keeps Enter and Space for itself.
      if ((key === "Enter" || key === " ") && !action.from && event.target.closest("button, a, summary")) return;
      if (event.repeat && action.once !== false) return;
      if (action.run(event) !== false) event.preventDefault();
      return;
    }
    if (key === "Escape" && oneLine(event.target)) event.target.blur();  // and the keys are the desk's again
  });
  const ONCE = /^(save-correction|keep-mine|clear-anyway|(accept|reject)-correction|annotate-(save|right|next|merge|skip-\d)|found-(nothing|listed)|record-outcome|export|import|start-run|(force-)?promote|rollback)$/;
  const HANDS_OVER = /^(save-correction|keep-mine|take-theirs|annotate-(save|right|merge|theirs))$/;
  const NEEDS_PICTURE = /^(decide-clear|clear-anyway|annotate-(save|right))$/;
  let decidedAt = -Infinity;
  // A click meant for the bag before, or the second of a double click, decides
  // nothing; and what the slider hides is not saved unseen.
  document.addEventListener("click", event => {
    const button = event.target instanceof Element && event.target.closest("button");
    if (!button) return;
    if (button.id === "keep-bag") decidedAt = -Infinity;  // answered: the next press is meant
    if (button.closest("#decision-buttons")) {
      const now = performance.now(), twice = event.detail > 1 || now - decidedAt < 250;
      decidedAt = now;
      if (twice || (desk.work && !desk.looked())) { event.stopImmediatePropagation(); return; }
    }
    if (NEEDS_PICTURE.test(button.id) && desk.picture === "broken") {
      event.stopImmediatePropagation();
      desk.say(`The picture could not be loaded, so this scan cannot be ${/^annotate/.test(button.id) ? "saved. Choose it again, or skip it" : "cleared. Choose it again, or send it to review or search"}.`);
      return;
    }
    // Nor does the second click on Save, which on Annotate would save the next scan unseen.
    if (event.detail > 1 && ONCE.test(button.id)) { event.stopImmediatePropagation(); return; }
    if (/^annotate-(save|right)$/.test(button.id) && desk.work && !desk.looked()) { event.stopImmediatePropagation(); return; }
    if (/^(save-correction|keep-mine|annotate-(save|right))$/.test(button.id) && desk.owner && desk.owner.revealBoxes) {
      const below = desk.owner.revealBoxes();
      if (below) { event.stopImmediatePropagation(); desk.say(`${desk.plural(below, "hidden box").replace("boxs", "boxes")} would be saved too: shown again. Delete what is wrong, then save.`); return; }
    }
    if (HANDS_OVER.test(button.id) && desk.work) writeDraft(true);
  }, true);
  desk.say = words => alarm(words, null, 6000);
  /** After a decision: five seconds in which one key takes it back. */
  desk.undoFor = 5000;
  let offered = null, withdrawing = 0;
  desk.offerUndo = () => {
    const told = document.querySelector("#said [data-undo]"), button = document.querySelector("#undo-decision");
    if (!told || !button || told.dataset.said === offered) { if (button && !told) button.classList.remove("offered"); return; }
    offered = told.dataset.said;
    button.classList.remove("offered");
    void button.offsetWidth;  // the bar that runs down starts anew
    button.classList.add("offered");
    clearTimeout(withdrawing);
    withdrawing = setTimeout(() => button.classList.remove("offered"), desk.undoFor);
  };
  document.addEventListener("click", event => { const button = event.target instanceof Element && event.target.closest("#undo-decision"); if (button) button.classList.remove("offered"); });

  /** All keys of all tabs, those that hold here first; read from the tables the keyboard reads. */
  function help() {
    const dialog = document.createElement("dialog");
    part(dialog, "h2", "Keys");
    const body = part(dialog, "div", "");
    dialog.className = "desk-help";
    body.className = "desk-help-groups";
    const taken = new Set(), ordered = [...desk.places.filter(place => place.here()), ...desk.places.filter(place => !place.here())];
    for (const place of ordered) {
      const here = place.here(), groups = {};
      for (const [key, action] of Object.entries(place.keys)) {
        const hidden = here && taken.has(key);  // another meaning of this key comes first here
        if (here) taken.add(key);
        if (action.help && !hidden) (groups[action.group || ""] ||= []).push([action.shown || (key.length > 1 ? key.replace("+", " ") : key), action.help]);
      }
      const section = part(body, "section", "");
      section.className = here ? "here" : "elsewhere";
      part(section, "h3", here ? place.name : `${place.name} (not open now)`);
      for (const [name, rows] of Object.entries(groups)) {
        if (name && name !== place.name) part(section, "h4", name);
        for (const [key, text] of rows) { const row = part(section, "p", ""); part(row, "kbd", key); part(row, "span", text); }
      }
      if (!Object.keys(groups).length) section.remove();
    }
    const close = part(dialog, "button", "Close (Esc)");
    close.onclick = () => dialog.close();
    dialog.onclose = () => dialog.remove();
    document.body.append(dialog);
    dialog.showModal();
    dialog.scrollTop = 0;  // the button that closes it takes the focus, and stands below
  }
  function part(parent, name, words) {
    const node = document.createElement(name);
    node.textContent = words;
    parent.append(node);
    return node;
  }
  desk.help = help;
  desk.focusShown = (shown, field) => {
    const frame = document.querySelector(shown), target = document.querySelector(field);
    if (frame && frame.offsetParent !== null && target) target.focus();
  };

  // --- when the desk does not answer ---------------------------------------------------------------------
  // Gradio says nothing when an event is refused at the door or the server is away; somebody who has just
  // pressed "search" must know that it was not recorded.
  const SIGNED_OUT = "You are signed out, so this was not done. Sign in again in another tab, then repeat it: nothing here is lost.";
  const AWAY = "The desk does not answer, so this was not done. Nothing here is lost; try again in a moment.";
  const ours = address => { try { return new URL(address && address.url || address, location.href).pathname.includes("/gradio_api/"); } catch { return false; } };
  const plainFetch = window.fetch.bind(window);
  window.fetch = async (address, ...rest) => {
    const watched = ours(address);
    let answer;
    try { answer = await plainFetch(address, ...rest); } catch (fault) { if (watched && fault.name !== "AbortError") alarm(AWAY); throw fault; }
    if (watched && answer.status === 401) alarm(SIGNED_OUT, "../signin");
    else if (watched && answer.status === 413) alarm("These files are too large to be sent together. Send fewer at a time.");
    else if (watched && answer.status >= 500) alarm(AWAY);
    else if (watched) alarm(null);
    return answer;
  };
  function alarm(words, link, fading) {
    if (words && !fading) desk.tell("alarm");
    const id = fading ? "desk-hint" : "desk-alarm", shown = document.querySelector(`#${id}`);
    if (shown) shown.remove();
    if (!words) return;
    const bar = document.createElement("div");
    bar.id = id;
    bar.setAttribute("role", "alert");
    bar.append(words);
    if (link) { const way = document.createElement("a"); way.href = link; way.target = "_blank"; way.textContent = "Sign in"; bar.append(way); }
    if (fading) setTimeout(() => bar.remove(), fading);
    document.body.append(bar);
  }

  // A label named in the opinions lights its boxes, as a row of the items table does.
  document.addEventListener("pointerover", event => {
    const chip = event.target instanceof Element && event.target.closest("[data-hover-label]");
    if (chip) { desk.hover(chip.dataset.hoverLabel); chip.addEventListener("pointerleave", () => desk.hover(null), { once: true }); }
  });
  window.addEventListener("beforeunload", event => { if (desk.dirty()) event.preventDefault(); });
})();
