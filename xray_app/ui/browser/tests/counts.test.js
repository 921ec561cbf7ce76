// @ts-check
import assert from "node:assert/strict";
import { test } from "node:test";
import { boxCounts, countFromBoxes, follow, setCount } from "../counts.js";
import { box, item, work } from "./made.js";

/** @param {import("../counts.js").Counted} from */
const counts = from => Object.fromEntries(from.items.map(one => [one.label, one.count]));

test("a drawn box is listed in rank order, as a person's", () => {
  const now = work({ items: [item("plastic bottle", 2)], boxes: [] });
  const before = boxCounts(now.boxes);
  now.boxes.push(box("new-1", "knife"));
  follow(now, before);
  assert.deepEqual(
    now.items.map(one => [one.label, one.count, one.confidence, one.status]),
    [
      ["knife", 1, null, "prohibited"],
      ["plastic bottle", 2, 0.9, "allowed"],
    ],
  );
});

test("a deleted box takes its count along; the last one takes the item off the list", () => {
  const now = work({ boxes: [box("1", "knife"), box("2", "knife")], items: [item("knife", 2)] });
  let before = boxCounts(now.boxes);
  now.boxes.pop();
  follow(now, before);
  assert.deepEqual(counts(now), { knife: 1 });
  before = boxCounts(now.boxes);
  now.boxes.pop();
  follow(now, before);
  assert.deepEqual(counts(now), {});
});

test("a count set apart from the boxes stays until the boxes outnumber it", () => {
  const now = work({ boxes: [box("1", "knife")], items: [item("knife", 3)] });
  for (const [boxes, count] of [
    [2, 3],
    [3, 3],
    [4, 4],
  ]) {
    const before = boxCounts(now.boxes);
    now.boxes.push(box(`new-${boxes}`, "knife"));
    follow(now, before);
    assert.deepEqual([now.boxes.length, counts(now).knife], [boxes, count]);
  }
});

test("a relabelled box moves its count to the other label", () => {
  const now = work();
  const before = boxCounts(now.boxes);
  now.boxes[0].label = "gun";
  follow(now, before);
  assert.deepEqual(counts(now), { gun: 1 });
});

test("counts go from 1 to 99", () => {
  const now = work();
  setCount(now, "knife", 100);
  assert.deepEqual(counts(now), { knife: 99 });
  setCount(now, "knife", 0);
  setCount(now, "gun", 0);
  assert.deepEqual(counts(now), {});
});

test("a count that stays what it was keeps the model's confidence", () => {
  const now = work();
  setCount(now, "knife", 1);
  assert.equal(now.items[0].confidence, 0.9);
  setCount(now, "knife", 2);
  assert.equal(now.items[0].confidence, null);
});

test("counts from the boxes leave what never had a box", () => {
  const boxes = [box("1", "gun"), box("2", "gun")];
  const now = work({ boxes, items: [item("gun", 9), item("knife", 1), item("lighter", 4)] });
  countFromBoxes(now, ["gun", "knife"]);
  assert.deepEqual(counts(now), { gun: 2, lighter: 4 });
});
