// @ts-check
import assert from "node:assert/strict";
import { test } from "node:test";
import { listsBoxes } from "../clash.js";
import { box, item } from "./made.js";

test("a list settles a clash where it names what every box shows, whatever the counts", () => {
  const boxes = [box("b1", "knife"), box("b2", "knife"), box("b3", "gun")];
  assert.ok(listsBoxes({ boxes, items: [item("knife", 1), item("gun", 1), item("lighter", 1)] }));
  assert.ok(!listsBoxes({ boxes, items: [item("knife", 2)] }));
  assert.ok(listsBoxes({ boxes: [], items: [] }));
});
