// @ts-check
// Ways to look at the picture. In the order they are applied: what is told apart by colour must see the colours as
// they were scanned.

export const FILTERS = ["organic", "metal", "high", "low", "contrast", "grey", "negative", "edge"];
const EXCLUSIVE = [
  ["organic", "metal"],
  ["high", "low"],
];
const BY_COLOUR = "Told apart by the picture's colour alone: the scanner's energies are not in this picture. ";
/** @type {Record<string, string>} */
const NOTES = {
  organic: `${BY_COLOUR}Organic matter under metal is not shown.`,
  metal: `${BY_COLOUR}Thick organic matter may show as metal.`,
  high: "Brightens what is dark in the picture. What the scanner left black stays black.",
  low: "Darkens what is light in the picture. What the scanner left white stays white.",
};

/** The filters after one was pressed: it goes on or off, "plain" takes all away, and its opposite goes.
 * @param {ReadonlySet<string>} on @param {string} name @returns {Set<string>} */
export function pressed(on, name) {
  if (name === "plain") return new Set();
  const next = new Set(on);
  if (next.delete(name)) return next;
  for (const pair of EXCLUSIVE.filter(one => one.includes(name))) pair.forEach(other => next.delete(other));
  return next.add(name);
}

let viewers = 0;

export class Filters {
  /** @param {import("./viewer.js").Viewer} viewer */
  constructor(viewer) {
    this.viewer = viewer;
    /** @type {Set<string>} */
    this.on = new Set();
    // Each viewer has filters of its own: those of one that is not on the screen would do nothing.
    this.number = ++viewers;
    for (const node of viewer.svg.querySelectorAll("filter")) node.id = `${node.id}-${this.number}`;
  }

  /** @param {string} name */
  apply(name) {
    this.on = pressed(this.on, name);
    this.show();
  }

  show() {
    const { element, picture, views } = this.viewer;
    const on = FILTERS.filter(name => this.on.has(name));
    const css = on.map(name => `url(#xf-${name}-${this.number})`).join(" ") || "none";
    for (const image of [picture.node, ...views.images()]) image.style.filter = css;
    for (const button of element.querySelectorAll("[data-filter]")) {
      const name = button.getAttribute("data-filter") ?? "";
      button.setAttribute("aria-pressed", String(name === "plain" ? !on.length : this.on.has(name)));
    }
    const note = element.querySelector(".viewer-note");
    if (!(note instanceof HTMLElement)) return;
    note.textContent = NOTES[Object.keys(NOTES).find(name => this.on.has(name)) ?? ""] ?? "";
    note.hidden = !note.textContent;
  }
}
