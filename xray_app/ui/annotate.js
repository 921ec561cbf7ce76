// Annotate and Review: their keys, the draft that is kept while one works, and the claim that lasts as long.
(() => {
  "use strict";
  const KEEP_AFTER = 1500, RENEW_EVERY = 60_000, ACTIVE_FOR = 5 * 60_000;
  const desk = window.xrayDesk;
  const seen = selector => { const node = document.querySelector(selector); return node && node.offsetParent !== null ? node : null; };
  const here = () => Boolean(seen("#annotate-viewer"));
  const press = id => () => { const button = seen(`#${id}`); if (button) button.click(); };
  let timer = 0, lastActive = Date.now();

  const skipping = () => Boolean(seen("#annotate-skips.open"));
  const openSkips = open => { const panel = document.querySelector("#annotate-skips"); if (panel) panel.classList.toggle("open", open); };
  const skip = number => ({ run: () => { if (skipping()) press(`annotate-skip-${number}`)(); } });
  // A second press meant for the scan before must not save the one that has just come up.
  const unhurried = id => () => { if (desk.work && desk.looked()) press(id)(); };
  desk.places.unshift({ name: "Annotate", here, keys: {
    "t": { run: press("annotate-next"), help: "take the next scan" },
    "y": { run: unhurried("annotate-right"), help: "the prediction is right" },
    "s": { run: unhurried("annotate-save"), help: "save, and on to the next" },
    "q": { run: () => openSkips(!skipping()), help: "skip, with a reason" },
    "1": { ...skip(1), shown: "1 to 4", help: "the reason for skipping" }, "2": skip(2), "3": skip(3), "4": skip(4),
  } });
  desk.subscribe(what => {
    if (!here()) return;
    if (what === "load") { clearTimeout(timer); openSkips(false); }
    if (what === "edit") { clearTimeout(timer); timer = setTimeout(keep, KEEP_AFTER); }
  });
  function keep() {
    if (here() && desk.work) { const button = document.querySelector("#annotate-keep"); if (button) button.click(); }
  }
  for (const kind of ["pointerdown", "pointermove", "keydown", "wheel"]) document.addEventListener(kind, () => { lastActive = Date.now(); }, { passive: true });
  setInterval(() => { if (Date.now() - lastActive < ACTIVE_FOR) keep(); }, RENEW_EVERY);
  document.addEventListener("click", event => {
    if (event.target instanceof Element && event.target.closest("#annotate-skip")) openSkips(!skipping());
  });

  desk.places.unshift({ name: "Review", here: () => Boolean(seen("#review-list")), keys: {
    "a": { run: press("review-accept"), help: "accept the correction" },
    "r": { run: press("review-reject"), help: "reject it" },
    "e": { run: press("review-amend"), help: "amend it on Annotate" },
    "j": { run: () => move(1), help: "next correction" }, "k": { run: () => move(-1), help: "previous correction" },
  } });
  // A second press meant for the correction before must not judge the one that has just come up.
  let proposedAt = -Infinity;
  const watched = new WeakSet();
  const watch = () => {
    const facts = document.querySelector("#review-facts");
    if (!facts || watched.has(facts)) return;
    watched.add(facts);
    new MutationObserver(() => { proposedAt = performance.now(); }).observe(facts, { childList: true, subtree: true, characterData: true });
  };
  for (const kind of ["keydown", "pointerdown"]) document.addEventListener(kind, watch, true);
  document.addEventListener("click", event => {
    const judges = event.target instanceof Element && event.target.closest("#review-accept, #review-reject");
    if (judges && (event.detail > 1 || performance.now() - proposedAt < 600)) event.stopImmediatePropagation();
  }, true);
  function move(by) {
    const picks = [...document.querySelectorAll("#review-list .pick")], now = picks.findIndex(pick => pick.getAttribute("aria-current") === "true");
    const next = picks[Math.min(picks.length - 1, Math.max(0, now + by))];
    if (next) next.click();
  }
})();
