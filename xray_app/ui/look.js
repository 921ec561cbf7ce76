// The theme somebody chose, kept in a cookie of this browser, so that the server's first paint is in it already.
(() => {
  "use strict";
  const root = document.documentElement, YEAR = 31_536_000;
  const light = () => root.dataset.theme === "light";
  const secure = location.protocol === "https:" ? "; Secure" : "";
  function choose(theme) {
    root.dataset.theme = theme;
    document.cookie = `xray_theme=${theme}; Path=/; Max-Age=${YEAR}; SameSite=Strict${secure}`;
    follow();
  }
  /** Gradio's class for its own dark parts, which it sets by the system's preference. */
  function follow() {
    if (document.body.classList.contains("dark") === light()) document.body.classList.toggle("dark", !light());
  }
  document.addEventListener("click", event => {
    if (event.target instanceof Element && event.target.closest(".desk-head .theme")) choose(light() ? "dark" : "light");
  });
  const watch = () => {
    follow();
    new MutationObserver(follow).observe(document.body, { attributes: true, attributeFilter: ["class"] });
  };
  if (document.body) watch(); else document.addEventListener("DOMContentLoaded", watch);
})();

// Search: arrow keys go from tile to tile, so that a page is looked through without the mouse.
(() => {
  "use strict";
  const desk = window.xrayDesk;
  const tiles = () => [...document.querySelectorAll("#found .match")];
  const chosen = () => { const item = document.activeElement && document.activeElement.closest("#found .match-item"); return item && item.querySelector(".match"); };
  const step = by => () => {
    const all = tiles(), now = all.indexOf(chosen());
    if (now < 0 && document.activeElement !== document.body) return false;  // tabs and lists have arrow keys of their own
    const across = Math.max(1, all.filter(tile => tile.offsetParent && tile.getBoundingClientRect().top === all[0].getBoundingClientRect().top).length);
    const next = all[now < 0 ? 0 : now + (Math.abs(by) === 1 ? by : Math.sign(by) * across)];
    if (next) next.focus();
    return Boolean(next);
  };
  desk.places.unshift({ name: "Search", here: () => { const list = document.querySelector("#found"); return Boolean(list) && list.offsetParent !== null; }, keys: {
    "ArrowRight": { run: step(1), once: false, shown: "arrows", help: "go through the pictures" }, "ArrowLeft": { run: step(-1), once: false },
    "ArrowDown": { run: step(2), once: false }, "ArrowUp": { run: step(-2), once: false },
    "Enter": { press: true, help: "open the scan on Analyse" },
    "Shift+P": { run: () => { const tile = chosen(); if (tile) desk.report(tile.dataset.analysis); }, help: "report of the scan, to print" },
  } });
})();
