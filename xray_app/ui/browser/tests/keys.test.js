// @ts-check
import assert from "node:assert/strict";
import { test } from "node:test";
import { analyseKeys, sharedKeys } from "../analyse_keys.js";
import { annotateKeys, Rejection, reviewKeys, skipKeys } from "../annotate.js";
import { Desk } from "../desk.js";
import { helpSections } from "../key_help.js";
import { actionsFor, isHeld, isSign, namesOf } from "../keys.js";
import { searchKeys } from "../search_keys.js";
import { namingKeys } from "../viewer/naming.js";
import { FILTER_KEYS, viewerKeys } from "../viewer/viewer_keys.js";
import { FILTERS, pressed } from "../viewer/filters.js";
import { storage } from "./made.js";

/** @typedef {import("../types.js").Keys} Keys */

const desk = new Desk({ storage, now: () => 0, say: () => {} });
const nothing = /** @type {any} */ ({});
const TABLES = {
  analyse: analyseKeys(desk),
  shared: sharedKeys(desk),
  annotate: annotateKeys(desk),
  skip: skipKeys,
  review: reviewKeys(new Rejection()),
  search: searchKeys,
  viewer: viewerKeys(nothing),
  naming: namingKeys(nothing),
};

/** @param {string} key @param {{ctrl?: boolean, shift?: boolean}} [held] */
const names = (key, { ctrl = false, shift = false } = {}) =>
  namesOf({ key, ctrlKey: ctrl, metaKey: false, shiftKey: shift });

test("a key is named by what is held with it", () => {
  assert.deepEqual(names("d"), ["d", "d"]);
  assert.deepEqual(names("D"), ["D", "d"], "caps lock");
  assert.deepEqual(names("U", { shift: true }), ["Shift+U", "u"]);
  assert.deepEqual(names("?", { shift: true }), ["?", "?"]);
  assert.deepEqual(names("z", { ctrl: true }), ["Ctrl+z"]);
  assert.deepEqual(names("z", { ctrl: true, shift: true }), ["Ctrl+Z"]);
  assert.deepEqual(names("ArrowLeft", { ctrl: true, shift: true }), ["Ctrl+ArrowLeft"]);
});

test("no key of a picture is taken by the tab around it", () => {
  const picture = { ...TABLES.shared, ...TABLES.viewer };
  const taken = Object.keys(picture).filter(key => key in TABLES.analyse);
  assert.deepEqual(taken, []);
  assert.deepEqual(
    Object.keys(TABLES.shared).filter(key => key in TABLES.viewer),
    [],
  );
});

test("every key has words in the list, or is an alias of one beside it", () => {
  for (const [name, keys] of Object.entries(TABLES)) {
    for (const [key, action] of Object.entries(keys)) {
      assert.ok(action.run || action.press || action.mouse, `${name} ${key} does something`);
      const alias = /^(Arrow|Ctrl\+Arrow|Ctrl\+Z|Backspace|=|[2-9])/.test(key);
      assert.ok(action.help || alias, `${name} ${key} is explained`);
    }
  }
});

test("every filter has a key", () => {
  const filters = Object.values(FILTER_KEYS).map(([name]) => name);
  assert.deepEqual(filters.sort(), [...FILTERS, "plain"].sort());
});

test("a filter goes on and off, drives out its opposite, and plain takes all away", () => {
  let on = pressed(new Set(), "organic");
  on = pressed(on, "grey");
  on = pressed(on, "metal");
  assert.deepEqual([...on], ["grey", "metal"]);
  assert.deepEqual([...pressed(on, "metal")], ["grey"]);
  assert.deepEqual([...pressed(on, "plain")], []);
});

/** @param {string} name @param {boolean} here @param {Keys} keys */
const place = (name, here, keys) => ({ name, here: () => here, keys });

test("the first place that is here wins, and one that is not has no keys", () => {
  const first = { run: () => 1 };
  const second = { run: () => 2 };
  const places = [place("gone", false, { s: { run: () => 0 } }), place("a", true, { s: first })];
  places.push(place("b", true, { s: second }));
  assert.deepEqual(actionsFor(places, ["s"]), [first, second]);
  assert.deepEqual(actionsFor(places, ["x"]), []);
});

test("while words are due anywhere on the screen, a sign does nothing unless it is about them", () => {
  /** @param {boolean} here @param {boolean} due */
  const places = (here, due) => [place("a", true, {}), { ...place("b", here, {}), due: () => due }];
  const plain = { run: () => {} };
  const answer = { run: () => {}, answers: true };
  assert.equal(isHeld(places(true, true), plain), true);
  assert.equal(isHeld(places(true, true), answer), false);
  assert.equal(isHeld(places(true, false), plain), false);
  assert.equal(isHeld(places(false, true), plain), false, "of another tab");
  assert.equal(isHeld([], plain), false);
});

test("a sign is what one press writes", () => {
  const held = { ctrlKey: false, metaKey: false };
  for (const key of ["a", "A", "3", "?", " ", "."]) assert.ok(isSign({ key, ...held }), key);
  for (const key of ["Enter", "Escape", "ArrowLeft", "Delete", "Shift"]) assert.ok(!isSign({ key, ...held }), key);
  assert.ok(!isSign({ key: "z", ctrlKey: true, metaKey: false }));
  assert.ok(!isSign({ key: "z", ctrlKey: false, metaKey: true }));
});

test("what decides, judges or saves is never about a reason, so that typing one sets nothing off", () => {
  const about = Object.entries(TABLES).flatMap(([name, keys]) =>
    Object.keys(keys).flatMap(key => (keys[key].answers ? `${name} ${key}` : [])),
  );
  assert.deepEqual(about.sort(), ["annotate q", "review r", "skip 1", "skip 2", "skip 3", "skip 4"]);
});

test("the list of keys says a key once where it holds, under the place that has it", () => {
  const places = [
    place("away", false, { s: { run: () => {}, help: "elsewhere" } }),
    place("a", true, { s: { run: () => {}, help: "save", group: "Do" } }),
    place("b", true, {
      s: { run: () => {}, help: "never" },
      "Ctrl+x": { run: () => {}, help: "cut" },
      ArrowUp: { run: () => {}, shown: "arrows", help: "go" },
      ArrowDown: { run: () => {} },
    }),
  ];
  const told = helpSections(places).map(one => [one.place.name, one.here, Object.fromEntries(one.groups)]);
  assert.deepEqual(told, [
    ["a", true, { Do: [["s", "save"]] }],
    [
      "b",
      true,
      {
        "": [
          ["Ctrl x", "cut"],
          ["arrows", "go"],
        ],
      },
    ],
    ["away", false, { "": [["s", "elsewhere"]] }],
  ]);
});
