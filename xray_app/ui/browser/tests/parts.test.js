// @ts-check
import assert from "node:assert/strict";
import { test } from "node:test";
import { wordsOf } from "../alarms.js";
import { factsOf } from "../found.js";
import * as guards from "../guards.js";
import { Intake, isScan, MB } from "../intake_queue.js";
import { classNamed } from "../items.js";
import { nextWaiting, titles } from "../strip.js";
import { plural } from "../dom.js";
import { LABELS } from "./made.js";

/** @param {string} name @param {number} [size] @returns {any} */
const file = (name, size = 1000) => ({ name, size });
const FACTS = { scanner: "line 1", bag: "", view: "" };

/** @param {number} [most] */
function made(most = 50 * MB) {
  const clock = { now: 0 };
  return { clock, intake: new Intake(most, () => clock.now) };
}
/** @param {Intake} intake */
const next = intake => intake.next()?.files.map(one => one.name);

test("one file is sent first, then as many as two seconds hold, at most eight", () => {
  const { intake, clock } = made();
  intake.take(
    Array.from({ length: 20 }, (_, n) => file(`${n}.png`)),
    [],
    FACTS,
  );
  assert.deepEqual(next(intake), ["0.png"]);
  clock.now = 1000;
  intake.settled();
  assert.equal(next(intake)?.length, 2);
  clock.now = 1020;
  intake.settled();
  assert.equal(next(intake)?.length, 8);
  assert.deepEqual([intake.done, intake.all], [3, 20]);
});

test("files of another drop, and too many bytes, wait for the next time", () => {
  const { intake } = made();
  intake.perScan = 0.1;
  intake.take([file("a.png", 20e6), file("b.png", 4e6), file("c.png", 1)], [], FACTS);
  assert.deepEqual(next(intake), ["a.png", "b.png"]);
  intake.settled();
  intake.perScan = 0.1;
  intake.take([file("d.png")], [], { ...FACTS, bag: "7" });
  assert.deepEqual(next(intake), ["c.png"]);
  intake.settled();
  assert.equal(intake.next()?.facts.bag, "7");
  intake.settled();
  assert.equal(intake.next(), null);
});

test("what cannot be read is listed, and put away by the next drop", () => {
  const { intake } = made(MB);
  const sent = [
    file("big.png", MB + 1),
    file("fits.png", MB),
    file("none.png", 0),
    file(".DS_Store"),
    file("Thumbs.db"),
  ];
  assert.equal(intake.take(sent, [["x", "the browser could not read it"]], FACTS), 1);
  assert.deepEqual(
    intake.refused.map(([name]) => name),
    ["x", "big.png", "none.png"],
  );
  intake.next();
  intake.refuse({ index: 0, name: "fits_png", reason: "no picture" });
  assert.deepEqual(intake.refused.at(-1), ["fits.png", "no picture"], "by its name here");
  intake.settled();
  intake.take([file("again.png")], [], FACTS);
  assert.deepEqual(intake.refused, []);
  assert.ok(isScan("thumbs.png"));
});

test("files without an answer wait again and are sent as such; a cancel drops them", () => {
  const { intake } = made();
  intake.take([file("a.png"), file("b.png")], [], FACTS);
  next(intake);
  intake.takeBack();
  assert.deepEqual([next(intake), intake.resent], [["a.png"], true]);
  intake.cancel(false);
  assert.deepEqual([intake.all, intake.busy], [1, true], "what is on its way is waited for");
  intake.cancel(true);
  assert.deepEqual([intake.all, intake.busy], [0, false]);
});

test("files that did not reach the desk are sent again, twice by itself", () => {
  const { intake } = made();
  intake.take([file("a.png"), file("b.png")], [], FACTS);
  assert.deepEqual(next(intake), ["a.png"]);
  for (let time = 0; time < 2; time++) {
    assert.equal(intake.settled(0), true);
    assert.deepEqual([intake.done, intake.resent, next(intake)], [0, false, ["a.png"]]);
  }
  assert.equal(intake.settled(0), false, "now the person says when to go on");
  intake.takeBack();
  assert.deepEqual(next(intake), ["a.png"]);
  assert.equal(intake.settled(1), true);
  assert.equal(intake.done, 1);
  next(intake);
  assert.equal(intake.settled(0), true, "counted anew");
  for (const odd of [undefined, null, "0", NaN, 2]) {
    next(intake);
    intake.settled(odd);
    assert.equal(intake.done, 2, String(odd));
  }
});

test("of files of which some reached the desk it is told that they are sent again", () => {
  const { intake } = made();
  intake.take([file("a.png"), file("b.png"), file("c.png")], [], FACTS);
  intake.perScan = 1;
  assert.equal(next(intake)?.length, 2);
  intake.settled(1);
  assert.deepEqual([intake.resent, next(intake)], [true, ["a.png", "b.png"]]);
});

test("the time left is told where it is long", () => {
  const { intake } = made();
  intake.take([file("a.png"), file("b.png")], [], FACTS);
  next(intake);
  intake.perScan = 10;
  assert.equal(intake.words(false), "Analysing 1 of 2");
  intake.perScan = 10.1;
  assert.equal(intake.words(false), "Analysing 1 of 2, 1 min");
  assert.equal(intake.words(true), "No answer at 1 of 2");
});

test("one slow scan does not make the time left jump", () => {
  const { clock, intake } = made();
  intake.take(
    Array.from({ length: 130 }, (_, n) => file(`${n}.png`)),
    [],
    FACTS,
  );
  for (let sent = 0; sent < 30; sent++) {
    next(intake);
    clock.now += sent === 29 ? 20_000 : 3000;
    intake.settled(1);
  }
  assert.equal(intake.words(false), "Analysing 31 of 130, 7 min", "five, by those before; thirty-four, by that one");
});

/** @param {string[]} classes @param {Partial<Parameters<typeof guards.refusal>[1]>} [state] */
const refused = (classes, state = {}) =>
  guards.refusal(name => classes.includes(name), {
    twice: false,
    hasWork: true,
    looked: true,
    picture: "loaded",
    ...state,
  });

test("a press counts unless its button says otherwise", () => {
  assert.equal(refused([guards.ONCE, guards.DECIDES, guards.UNHURRIED]), null);
  assert.equal(refused([], { twice: true, looked: false, picture: "broken" }), null);
  assert.deepEqual(refused([guards.ONCE], { twice: true }), { words: null });
  assert.deepEqual(refused([guards.DECIDES], { looked: false }), { words: null });
  assert.deepEqual(refused([guards.UNHURRIED], { looked: false }), { words: null });
  assert.equal(refused([guards.DECIDES], { looked: false, hasWork: false }), null);
});

test("from a scan one goes on to what waited after it, wherever a correction has put it meanwhile", () => {
  assert.equal(nextWaiting(["a", "b", "c", "d"], "c", ["c", "a", "b", "d"]), "d", "moved to the front");
  assert.equal(nextWaiting(["a", "b", "c", "d"], "b", ["a", "b", "d"]), "d", "the next was decided by somebody");
  assert.equal(nextWaiting(["a", "b"], "b", ["b", "a", "new"]), "new", "what came in later stands at the end");
  assert.equal(nextWaiting(["a", "b"], "b", ["b", "a"]), null, "nothing follows");
  assert.equal(nextWaiting(["a", "b"], "decided long ago", ["a", "b"]), null);
});

test("what stops or switches something asks once, and neither a double click nor a key held down is the answer", () => {
  assert.equal(guards.asking(-Infinity, 0, 1), "ask");
  assert.equal(guards.asking(0, 1000, 1), "do");
  assert.equal(guards.asking(0, 1000, 2), "wait");
  assert.equal(guards.asking(0, 200, 0), "wait");
  assert.equal(guards.asking(0, 7000, 1), "ask", "nobody answered");
});

test("without a picture nothing is cleared or saved, and the person is told", () => {
  assert.match(refused([guards.NEEDS_PICTURE_TO_CLEAR], { picture: "broken" })?.words ?? "", /cannot be cleared/);
  assert.match(refused([guards.NEEDS_PICTURE_TO_SAVE], { picture: "broken" })?.words ?? "", /cannot be saved/);
  assert.equal(refused([guards.NEEDS_PICTURE_TO_CLEAR], { picture: "loading" }), null);
});

test("an answer's status is said where it is an alarm", () => {
  assert.deepEqual([200, 400, 404, 499].map(wordsOf), [null, null, null, null]);
  assert.match(wordsOf(401) ?? "", /signed out/);
  assert.match(wordsOf(413) ?? "", /too large/);
  assert.match(wordsOf(500) ?? "", /does not answer/);
});

test("what became of a scan is said in words", () => {
  const item = /** @type {any} */ ({ decision: "CLEAR", outcome: "x", found: [], correction: "pending", differ: true });
  assert.deepEqual(factsOf(item), ["✓ clear", "hand search: nothing", "✎ waits for review", "≠ models differ"]);
  const found = { level: "HIGH", models: "LOW", by: "nora", reason: "knife, marked by nora" };
  assert.deepEqual(factsOf({ ...item, ...found }).slice(0, 2), ["knife, marked by nora", "models: LOW"]);
});

test("a class is added by its name or an alias, as it is written in full", () => {
  assert.equal(classNamed(LABELS, " Knives ")?.name, "knife");
  assert.equal(classNamed(LABELS, "kni"), undefined);
});

test("the queue's headings count what waits", () => {
  assert.deepEqual([titles(2).waiting, titles(1).waiting, titles(0).done], ["2 scans waiting", "", "all decided"]);
  assert.deepEqual(
    [plural(1, "box", "boxes"), plural(2, "box", "boxes"), plural(0, "scan")],
    ["1 box", "2 boxes", "0 scans"],
  );
});
