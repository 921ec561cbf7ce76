// @ts-check
import assert from "node:assert/strict";
import { test } from "node:test";
import { choices, NEW, withSaid } from "../label_table.js";

const ROW = { label: "Katana", meaning: "", name: "Katana", status: "prohibited" };
const TABLE = { shown: "a job", classes: ["knife", "gun"], rows: [ROW, { ...ROW, label: "Dart" }] };

test("nothing is said of a label until somebody chooses, and a new class is offered before all others", () => {
  const offered = choices(TABLE.classes);
  const values = offered.map(([value]) => value);
  assert.deepEqual(values, ["", NEW, "ignore", "knife", "gun"]);
  assert.equal(offered.find(([value]) => value === "gun")?.[1], "gun");
});

test("a class that is called ignore is not offered: the word means that boxes are left out", () => {
  assert.equal(choices(["ignore", "gun"]).filter(([value]) => value === "ignore").length, 1);
});

test("what is said of a label changes its row alone", () => {
  const said = withSaid(TABLE, 1, { meaning: NEW, name: "dart" });
  assert.deepEqual(said.rows[1], { label: "Dart", meaning: NEW, name: "dart", status: "prohibited" });
  assert.equal(said.rows[0], ROW);
  assert.equal(TABLE.rows[1].meaning, "", "the table as it came stays as it was");
});
