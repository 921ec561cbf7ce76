// @ts-check
import assert from "node:assert/strict";
import { test } from "node:test";
import { Desk } from "../desk.js";
import { History } from "../history.js";
import { box, item, storage, work } from "./made.js";

function made() {
  const kept = storage();
  const clock = { now: 0 };
  /** @type {string[]} */
  const said = [];
  const open = () => new Desk({ storage: () => kept, now: () => clock.now, say: words => void said.push(words) });
  return { kept, clock, said, open, desk: open() };
}

/** @param {Desk} desk @param {string} id */
const draw = (desk, id) => desk.edit(now => void now.boxes.push(box(id, "gun")));
/** @param {Desk} desk */
const labels = desk => desk.work?.boxes.map(one => one.label);

test("undo and redo go through the edits; a new edit forgets what was undone", () => {
  const { desk } = made();
  desk.load(work());
  draw(desk, "new-1");
  draw(desk, "new-2");
  desk.undo();
  assert.deepEqual(labels(desk), ["knife", "gun"]);
  assert.equal(desk.work?.items.find(one => one.label === "gun")?.count, 1, "the counts go back too");
  desk.redo();
  assert.equal(labels(desk)?.length, 3);
  desk.undo();
  desk.undo();
  desk.undo();
  assert.deepEqual(labels(desk), ["knife"]);
  assert.equal(desk.dirty(), false);
  draw(desk, "new-3");
  desk.redo();
  assert.deepEqual(labels(desk), ["knife", "gun"]);
});

test("an edit that changes nothing is no step, and nothing is edited where nothing may be", () => {
  const { desk } = made();
  desk.load(work());
  desk.edit(() => {});
  assert.deepEqual(desk.history.past, []);
  desk.load(work({ readonly: true }));
  draw(desk, "new-1");
  assert.deepEqual(labels(desk), ["knife"]);
});

test("200 steps back are kept, not 201", () => {
  const history = new History();
  for (let step = 0; step <= 200; step++) history.record(String(step));
  let state = "now";
  let steps = 0;
  for (let back = history.undo(state); back !== null; back = history.undo(state)) {
    state = back;
    steps += 1;
  }
  assert.deepEqual([steps, state], [200, "1"]);
});

test("unsaved edits come back to whoever made them, after a reload", () => {
  const { desk, open } = made();
  desk.load(work());
  draw(desk, "new-1");
  const again = open();
  again.load(work());
  assert.deepEqual(labels(again), ["knife", "gun"]);
  assert.ok(again.dirty());
  again.undo();
  assert.equal(again.dirty(), false, "back to what the server sent");
  const other = open();
  other.load(work({ user: "ben" }));
  assert.deepEqual(labels(other), ["knife"]);
});

test("edits that were undone leave no draft", () => {
  const { desk, kept } = made();
  desk.load(work());
  draw(desk, "new-1");
  assert.equal(kept.length, 1);
  desk.undo();
  assert.equal(kept.length, 0);
});

test("edits of an older revision are shown, said, and saved on their own base", () => {
  const { desk, said } = made();
  desk.load(work());
  draw(desk, "new-1");
  desk.load(work({ base_revision: 1, boxes: [], items: [] }));
  assert.equal(desk.work?.base_revision, 0);
  assert.deepEqual(labels(desk), ["knife", "gun"]);
  assert.match(said[0], /Revision 1 was saved since you began/);
});

test("what was handed over and saved does not come back as unsaved", () => {
  const { desk, kept } = made();
  desk.load(work());
  draw(desk, "new-1");
  desk.handOver();
  const saved = { boxes: [box("b1", "knife"), box("b2", "gun")], items: [item("knife", 1), item("gun", 1)] };
  desk.load(work({ base_revision: 1, own: [1], ...saved }));
  assert.deepEqual([desk.dirty(), kept.length], [false, 0]);
});

test("what was handed over and refused comes back", () => {
  const { desk } = made();
  desk.load(work());
  draw(desk, "new-1");
  desk.handOver();
  desk.load(work({ base_revision: 1 }));
  assert.deepEqual(labels(desk), ["knife", "gun"]);
});

test("what was edited between sending and answer goes on top of what was saved", () => {
  const { desk } = made();
  desk.load(work());
  draw(desk, "new-1");
  desk.handOver();
  desk.edit(now => void now.boxes.push(box("new-2", "lighter")));
  const boxes = [box("b1", "knife"), box("b2", "gun")];
  desk.load(work({ base_revision: 1, own: [1], boxes, items: [item("knife", 1), item("gun", 1)] }));
  assert.deepEqual(
    desk.work?.boxes.map(one => one.id),
    ["b1", "b2", "new-2"],
    "the saved box has its id",
  );
  assert.equal(desk.work?.base_revision, 1);
  assert.ok(desk.dirty());
});

test("a draft that the server kept is shown as unsaved edits", () => {
  const { desk } = made();
  desk.load(work({ draft: { boxes: [], items: [] } }));
  assert.deepEqual([labels(desk), desk.dirty()], [[], true]);
  desk.undo();
  assert.deepEqual(labels(desk), ["knife"]);
});

test("a browser that keeps nothing still edits", () => {
  const closed = () => {
    throw new Error("blocked");
  };
  const desk = new Desk({ storage: closed, now: () => 0, say: () => {} });
  desk.load(work());
  draw(desk, "new-1");
  assert.deepEqual(labels(desk), ["knife", "gun"]);
});

test("a scan is looked at from its picture on, and may be decided after 0.6 seconds", () => {
  const { desk, clock } = made();
  desk.load(work());
  assert.deepEqual([desk.seconds(), desk.looked()], [null, false]);
  desk.pictureIs("loading");
  assert.equal(desk.seconds(), null);
  desk.pictureIs("loaded");
  clock.now = 540;
  assert.deepEqual([desk.seconds(), desk.looked()], [0.5, false]);
  clock.now = 600;
  assert.deepEqual([desk.seconds(), desk.looked()], [0.6, true]);
  desk.load(work({ base_revision: 1 }));
  assert.equal(desk.looked(), true, "the same scan again");
  desk.load(work({ analysis_id: "a2" }));
  assert.equal(desk.looked(), false);
});

test("a part that fails keeps no other from being told", test => {
  const { desk } = made();
  test.mock.method(console, "error", () => {});
  /** @type {string[]} */
  const told = [];
  desk.subscribe(() => {
    throw new Error("a fault");
  });
  desk.subscribe(what => void told.push(what));
  desk.load(work());
  assert.deepEqual(told, ["load"]);
});
