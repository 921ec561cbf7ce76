// Annotate and Review: their keys, the draft that is kept while one works, and the claim that lasts as long.
(() => {
  "use strict";
  const KEEP_AFTER = 1500, RENEW_EVERY = 60_000, ACTIVE_FOR = 5 * 60_000;
  const press = id => () => window.xrayDesk.press(id)();
  let mine = null, timer = 0, lastActive = Date.now();

  const skips = () => document.querySelector("#annotate-skips");
  const toggleSkips = open => { const panel = skips(); if (panel) panel.classList.toggle("open", open); };

  function begin(viewer) {
    mine = window.xrayDesk.of(viewer);
    // A second press meant for the scan before must not save the one that has just come up.
    const unhurried = id => () => { if (mine.work && mine.seconds() >= 0.6) press(id)(); };
    const skip = number => ({ run: () => { if (skips() && skips().classList.contains("open")) press(`annotate-skip-${number}`)(); } });
    Object.assign(mine.actions, {
      "y": { run: unhurried("annotate-right"), help: "the prediction is right", group: "Annotate" },
      "s": { run: unhurried("annotate-save"), help: "save, and on to the next", group: "Annotate" },
      "q": { run: () => toggleSkips(!skips().classList.contains("open")), help: "skip, with a reason (1 to 4)", group: "Annotate" },
      "t": { run: press("annotate-next"), help: "take the next scan", group: "Annotate" },
      "j": { run: () => {} }, "k": { run: () => {} }, "u": { run: () => {} },
      "1": skip(1), "2": skip(2), "3": skip(3), "4": skip(4),
    });
    mine.subscribe(what => {
      if (what === "load") { clearTimeout(timer); toggleSkips(false); }
      if (what === "edit") { clearTimeout(timer); timer = setTimeout(keep, KEEP_AFTER); }
    });
  }
  function keep() {
    if (mine && mine.work && mine.pane.offsetParent !== null) { const button = document.querySelector("#annotate-keep"); if (button) button.click(); }
  }
  // The viewer comes when its tab is first shown.
  const watcher = new MutationObserver(() => {
    const viewer = document.querySelector("#annotate-viewer .viewer");
    if (viewer) { watcher.disconnect(); begin(viewer); }
  });
  watcher.observe(document, { childList: true, subtree: true });
  for (const kind of ["pointerdown", "pointermove", "keydown", "wheel"]) document.addEventListener(kind, () => { lastActive = Date.now(); }, { passive: true });
  setInterval(() => { if (Date.now() - lastActive < ACTIVE_FOR) keep(); }, RENEW_EVERY);
  document.addEventListener("click", event => {
    if (event.target instanceof Element && event.target.closest("#annotate-skip")) toggleSkips(!skips().classList.contains("open"));
  });

  // Review has no viewer, so its keys are read here.
  const keys = { a: "review-accept", r: "review-reject", e: "review-amend", j: 1, k: -1 };
  document.addEventListener("keydown", event => {
    const frame = document.querySelector("#review-list");
    if (!frame || frame.offsetParent === null || event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
    if (event.target instanceof Element && event.target.closest("input, textarea, select, [contenteditable=true]")) return;
    const what = keys[event.key.toLowerCase()];
    if (typeof what === "string") { event.preventDefault(); press(what)(); }
    else if (what) {
      event.preventDefault();
      const picks = [...frame.querySelectorAll(".pick")], now = picks.findIndex(pick => pick.getAttribute("aria-current") === "true");
      const next = picks[Math.min(picks.length - 1, Math.max(0, now + what))];
      if (next) next.click();
    }
  });
})();
