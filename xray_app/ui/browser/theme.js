// @ts-check
// The theme somebody chose, kept in a cookie of this browser, so that the server's first paint is in it already.
import { closest } from "./dom.js";

const YEAR_SECONDS = 31_536_000;
const root = () => document.documentElement;
const light = () => root().dataset.theme === "light";

/** @param {"light" | "dark"} theme */
function choose(theme) {
  const secure = location.protocol === "https:" ? "; Secure" : "";
  root().dataset.theme = theme;
  const desks = new URL("..", document.baseURI).pathname; // "/", or what a proxy serves the desk under
  document.cookie = `xray_theme=${theme}; Path=${desks}; Max-Age=${YEAR_SECONDS}; SameSite=Strict${secure}`;
  follow();
}

/** Gradio's class for its own dark parts, which it sets by the system's preference. */
function follow() {
  const { classList } = document.body;
  if (classList.contains("dark") === light()) classList.toggle("dark", !light());
}

export function keepTheme() {
  document.addEventListener("click", event => {
    if (closest(event, ".desk-head .theme")) choose(light() ? "dark" : "light");
  });
  follow();
  new MutationObserver(follow).observe(document.body, { attributes: true, attributeFilter: ["class"] });
}
