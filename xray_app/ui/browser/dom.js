// @ts-check
const NS = "http://www.w3.org/2000/svg";

/** The one element below `root` that must be there.
 * @template {Element} T
 * @param {ParentNode} root @param {string} selector @param {new (...args: never[]) => T} kind
 * @returns {T} */
export function find(root, selector, kind) {
  const node = root.querySelector(selector);
  if (!(node instanceof kind)) throw new Error(`The page lacks ${selector}.`);
  return node;
}

/** Appends an element. Its words are text, whatever stands in them.
 * @template {keyof HTMLElementTagNameMap} Name
 * @param {Element} parent @param {Name} name @param {string} words @param {string} [className]
 * @returns {HTMLElementTagNameMap[Name]} */
export function add(parent, name, words, className) {
  const node = document.createElement(name);
  node.textContent = words;
  if (className) node.className = className;
  parent.append(node);
  return node;
}

/** An SVG element.
 * @template {keyof SVGElementTagNameMap} Name
 * @param {Name} name @param {Record<string, string | number>} attributes
 * @returns {SVGElementTagNameMap[Name]} */
export function shape(name, attributes) {
  const node = document.createElementNS(NS, name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, String(value));
  return node;
}

/** A value without a framework's proxy, which structuredClone refuses.
 * @template T @param {T} value @returns {T} */
export function copy(value) {
  return JSON.parse(JSON.stringify(value));
}

/** What is not on the screen belongs to another tab, or is not meant to be used now.
 * @param {Element | null | undefined} node @returns {node is HTMLElement} */
export function visible(node) {
  return node instanceof HTMLElement && node.offsetParent !== null;
}

/** The first element of a selector that is on the screen. @param {string} selector */
export function shown(selector) {
  return [...document.querySelectorAll(selector)].find(visible) ?? null;
}

/** Presses the button with this id, where it is on the screen. @param {string} id */
export function press(id) {
  const node = shown(`#${id}`);
  if (node) (node.querySelector("button") || node).click();
}

/** The button an event is about. @param {Event} event */
export function buttonOf(event) {
  return closest(event, "button");
}

/** The element of a selector in which an event happened. @param {Event} event @param {string} selector */
export function closest(event, selector) {
  const found = event.target instanceof Element ? event.target.closest(selector) : null;
  return found instanceof HTMLElement ? found : null;
}

/** The thumbnail of a scan, fetched when it comes into sight; `failed` where there is none.
 * @param {Element} parent @param {string} scanId @param {(image: HTMLImageElement) => void} failed */
export function addThumbnail(parent, scanId, failed) {
  const image = document.createElement("img");
  image.loading = "lazy";
  image.decoding = "async";
  image.alt = "";
  image.addEventListener("error", () => failed(image));
  image.src = `../v1/scans/${encodeURIComponent(scanId)}/thumbnail`;
  parent.append(image);
}

/** Clicks the element before or after the current one of a list; at its ends, the first or the last.
 * @param {string} selector @param {number} by */
export function clickNext(selector, by) {
  const all = [...document.querySelectorAll(selector)].filter(node => node instanceof HTMLElement);
  const now = all.findIndex(node => node.getAttribute("aria-current") === "true");
  all[Math.min(all.length - 1, Math.max(0, now + by))]?.click();
}

/** A page of its own with everything about a scan; never the desk's own tab, which may hold unsaved edits.
 * @param {string} analysisId */
export function openReport(analysisId) {
  window.open(`../v1/analyses/${encodeURIComponent(analysisId)}/report`, "_blank", "noopener");
}

/** @param {number} count @param {string} word @param {string} [many] */
export function plural(count, word, many = `${word}s`) {
  return count === 1 ? `1 ${word}` : `${count} ${many}`;
}
