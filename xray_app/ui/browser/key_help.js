// @ts-check
import { add } from "./dom.js";

/** @typedef {import("./types.js").Place} Place */

/**
 * @typedef {object} HelpSection
 * @property {Place} place
 * @property {boolean} here
 * @property {Map<string, [key: string, help: string][]>} groups
 */

/** What the list of keys says: the places that hold here first, each key where its meaning is the one that counts.
 * @param {readonly Place[]} places @returns {HelpSection[]} */
export function helpSections(places) {
  /** @type {Set<string>} */
  const taken = new Set();
  const ordered = [...places.filter(place => place.here()), ...places.filter(place => !place.here())];
  return ordered.map(place => {
    const here = place.here();
    /** @type {HelpSection["groups"]} */
    const groups = new Map();
    for (const [key, action] of Object.entries(place.keys)) {
      const hidden = here && taken.has(key); // another meaning of this key comes first here
      if (here) taken.add(key);
      if (!action.help || hidden) continue;
      const group = action.group || "";
      const shown = action.shown || (key.length > 1 ? key.replace("+", " ") : key);
      groups.set(group, [...(groups.get(group) ?? []), [shown, action.help]]);
    }
    return { place, here, groups };
  });
}

/** All keys of all tabs, read from the tables the keyboard reads. @param {readonly Place[]} places */
export function openKeyHelp(places) {
  const dialog = document.createElement("dialog");
  add(dialog, "h2", "Keys");
  const body = add(dialog, "div", "", "desk-help-groups");
  dialog.className = "desk-help";
  for (const { place, here, groups } of helpSections(places)) {
    if (!groups.size) continue;
    const section = add(body, "section", "", here ? "here" : "elsewhere");
    add(section, "h3", here ? place.name : `${place.name} (not open now)`);
    for (const [name, rows] of groups) {
      if (name && name !== place.name) add(section, "h4", name);
      for (const [key, text] of rows) {
        const row = add(section, "p", "");
        add(row, "kbd", key);
        add(row, "span", text);
      }
    }
  }
  const close = add(dialog, "button", "Close (Esc)");
  close.onclick = () => dialog.close();
  dialog.onclose = () => dialog.remove();
  document.body.append(dialog);
  dialog.showModal();
  dialog.scrollTop = 0; // the button that closes it takes the focus, and stands below
}
