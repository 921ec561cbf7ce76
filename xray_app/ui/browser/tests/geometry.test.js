// @ts-check
import assert from "node:assert/strict";
import { test } from "node:test";
import { byDoubt, isShown, matching, nextId, offered } from "../viewer/boxes.js";
import { nameOf } from "../viewer/box_nodes.js";
import * as geometry from "../viewer/geometry.js";
import { viewAfter } from "../viewer/views.js";
import { box, LABELS } from "./made.js";

const SIZE = { width: 200, height: 100 };
const { clamp, inTheMiddle, keptInSight, plateOf, rounded, shifted, smallestUnder, stretched, zoomed } = geometry;

test("a value stays between its bounds, both included", () => {
  assert.deepEqual(
    [-1, 0, 5, 10, 11].map(value => clamp(value, 0, 10)),
    [0, 0, 5, 10, 10],
  );
});

test("a box is moved as far as the picture goes", () => {
  assert.deepEqual(shifted([10, 10, 50, 40], 5, -5, SIZE), [15, 5, 55, 35]);
  assert.deepEqual(shifted([10, 10, 50, 40], 150, 60, SIZE), [160, 70, 200, 100]);
  assert.deepEqual(shifted([10, 10, 50, 40], 151, 61, SIZE), [160, 70, 200, 100]);
  assert.deepEqual(shifted([10, 10, 50, 40], -99, -99, SIZE), [0, 0, 40, 30]);
});

test("a side is moved by its handle, inside the picture, and never past the other side", () => {
  assert.deepEqual(stretched([10, 10, 50, 40], "e", 7, 7, SIZE), [10, 10, 57, 40]);
  assert.deepEqual(stretched([10, 10, 50, 40], "nw", -99, -99, SIZE), [0, 0, 50, 40]);
  assert.deepEqual(stretched([10, 10, 50, 40], "se", 999, 999, SIZE), [10, 10, 200, 100]);
  assert.deepEqual(stretched([10, 10, 50, 40], "w", 99, 0, SIZE), [48, 10, 50, 40]);
  assert.deepEqual(stretched([10, 10, 50, 40], "s", 0, -99, SIZE), [10, 10, 50, 12]);
});

test("the smallest box under the pointer is picked", () => {
  const laptop = box("laptop", "laptop", { xyxy: [0, 0, 100, 100] });
  const knife = box("knife", "knife", { xyxy: [10, 10, 30, 20] });
  assert.equal(smallestUnder([laptop, knife], [30, 20])?.id, "knife");
  assert.equal(smallestUnder([laptop, knife], [31, 20])?.id, "laptop");
  assert.equal(smallestUnder([laptop, knife], [101, 20]), null);
});

test("zooming keeps the point under the pointer, and stops at both ends", () => {
  const whole = geometry.whole(SIZE);
  assert.deepEqual(zoomed(whole, 2, [50, 50], SIZE), { x: 25, y: 25, w: 100, h: 50 });
  assert.equal(zoomed(whole, 1000, null, SIZE).w, 16);
  assert.equal(zoomed(whole, 0.001, null, SIZE).w, 320);
});

test("a fifth of what is seen is picture", () => {
  const sight = { x: 999, y: -999, w: 100, h: 50 };
  assert.deepEqual(keptInSight(sight, SIZE), { x: 180, y: -40, w: 100, h: 50 });
});

test("a box placed by keys is in the middle of what is seen of the picture", () => {
  assert.deepEqual(inTheMiddle({ x: -100, y: 0, w: 200, h: 100 }, SIZE), [37.5, 37.5, 62.5, 62.5]);
});

test("coordinates are kept to a tenth of a pixel", () => {
  assert.deepEqual(rounded([0.04, 0.06, 10.249, 10.25]), [0, 0.1, 10.2, 10.3]);
});

test("a name goes over its box, and elsewhere where another name or the edge is", () => {
  const sight = geometry.whole(SIZE);
  const name = { wide: 40, high: 10 };
  const first = plateOf([50, 40, 90, 60], name, [], sight);
  assert.deepEqual(first, { left: 50, top: 30, wide: 40 });
  assert.equal(plateOf([60, 40, 90, 60], name, [first], sight).top, 60, "under the box");
  assert.equal(plateOf([50, 5, 90, 60], name, [], sight).top, 60, "no room over it");
  assert.equal(plateOf([190, 40, 199, 60], name, [], sight).left, 160, "inside the picture");
});

test("a box's name says who named it and how surely", () => {
  assert.equal(nameOf(box("1", "knife", { threat: true }), true), "▲ ≠ knife 80 %");
  assert.equal(nameOf(box("1", "cup", { source: "vlm", confidence: null }), false), "cup VLM");
  assert.equal(nameOf(box("1", "cup", { source: "human", confidence: null }), true), "cup ✎");
});

test("model boxes are shown from the threshold on, a person's always", () => {
  assert.equal(isShown(box("1", "knife", { confidence: 0.5 }), 0.5), true);
  assert.equal(isShown(box("1", "knife", { confidence: 0.49 }), 0.5), false);
  assert.equal(isShown(box("1", "knife", { source: "human", confidence: 0.1 }), 0.5), true);
});

test("doubtful boxes come first, and the keys go round", () => {
  const boxes = [
    box("own", "gun", { source: "human", confidence: null }),
    box("sure", "gun", { confidence: 0.9 }),
    box("unsure", "gun", { confidence: 0.3 }),
    box("alone", "lighter", { confidence: 0.8 }),
  ];
  const order = byDoubt(boxes, label => label === "lighter");
  assert.deepEqual(
    order.map(one => one.id),
    ["alone", "unsure", "sure", "own"],
  );
  assert.equal(nextId(order, null, 1), "alone");
  assert.equal(nextId(order, null, -1), "own");
  assert.equal(nextId(order, "own", 1), "alone");
  assert.equal(nextId(order, "alone", -1), "own");
  assert.equal(nextId([], "own", 1), null);
});

test("a class is found by name, beginning, word or part, in this order", () => {
  const found = (/** @type {string} */ typed) => matching(LABELS, typed).map(entry => entry.name);
  assert.deepEqual(found("GUN"), ["gun"]);
  assert.deepEqual(
    found("l"),
    ["lighter", "gun", "knife", "plastic bottle"],
    "then in rank order, by part of an alias",
  );
  assert.deepEqual(found("kni"), ["knife"]);
  assert.deepEqual(found("b"), ["plastic bottle"], "by an alias");
  assert.deepEqual(found("plastic-b"), ["plastic bottle"]);
  assert.deepEqual(found("pistol"), ["gun"]);
  assert.deepEqual(found("zzz"), []);
});

test("while nothing is typed the likely classes come first, without what the box is already", () => {
  const found = offered(LABELS, ["lighter", "no class", null], "gun").map(entry => entry.name);
  assert.deepEqual(found, ["lighter", "knife", "plastic bottle"]);
});

test("after the last view follows the first", () => {
  assert.equal(viewAfter("b", ["a", "c"]), "c");
  assert.equal(viewAfter("c", ["a", "b"]), "a");
});
