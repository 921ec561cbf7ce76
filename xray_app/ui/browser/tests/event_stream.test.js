// @ts-check
import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as after } from "node:timers/promises";
import { EventStream } from "../event_stream.js";
import { laterRead } from "../strip.js";

const JOIN = "http://desk/desk/gradio_api/queue/join";
const DATA = "http://desk/desk/gradio_api/queue/data?session_hash=s";
const CLOSE = { msg: "close_stream", event_id: null };
const FORGOTTEN = { msg: "unexpected_error", session_not_found: true };
/** @param {string} id */
const over = id => ({ msg: "process_completed", event_id: id });
/** @param {object[]} messages */
const said = (...messages) => messages.map(one => `data: ${JSON.stringify(one)}\n\n`).join("");

/** A page before a server: its streams are written and ended by hand, its receipts are `receipt`. */
function made() {
  const clock = { now: 0 };
  const queue = { drawn: 0 };
  let receipt = "{}";
  let asked = 0;
  /** @type {string[]} */
  const told = [];
  /** @type {{write: (piece: string | Uint8Array) => void, end: () => void, cut: () => void, signal: AbortSignal}[]} */
  const streams = [];
  /** @type {{status: number} | null} */
  let refusing = null;
  const events = new EventStream({
    now: () => clock.now,
    ask: () => void (asked += 1),
    drawn: () => queue.drawn,
    shown: one => one.title === "#shown",
    fetch: async address => {
      if (!String(address instanceof Request ? address.url : address).includes("queue/data"))
        return new Response(receipt);
      const { signal } = /** @type {Request} */ (address);
      const body = new ReadableStream({
        start(to) {
          const write = (/** @type {string | Uint8Array} */ piece) =>
            to.enqueue(typeof piece === "string" ? new TextEncoder().encode(piece) : piece);
          streams.push({ write, end: () => to.close(), cut: () => to.error(new TypeError("network")), signal });
          signal.addEventListener("abort", () => to.error(signal.reason));
        },
      });
      return new Response(body, refusing ?? {});
    },
  });
  return {
    clock,
    queue,
    events,
    streams,
    told: () =>
      told
        .join("")
        .match(/"event_id":"\w+"/g)
        ?.map(one => one.slice(12, -1)) ?? [],
    text: () => told.join(""),
    asked: () => asked,
    refuse: (/** @type {number} */ status) => (refusing = { status }),
    /** @param {string} id @param {string} [words] */
    async join(id, words = JSON.stringify({ event_id: id })) {
      receipt = words;
      const answer = await events.fetch(JOIN, { method: "POST" });
      assert.equal(await answer.text(), words, "Gradio gets the receipt as it is");
      await after(1);
    },
    async read() {
      const end = new AbortController();
      const answer = await events.fetch(DATA, { signal: end.signal });
      const reader = answer.body?.pipeThrough(new TextDecoderStream()).getReader();
      const done = (async () => {
        for (;;) {
          const { done, value } = (await reader?.read()) ?? { done: true };
          if (done) return "ended";
          told.push(String(value));
        }
      })().catch(fault => fault.name);
      await after(1);
      return { end, done };
    },
    /** Lets time go by in steps of a quarter of a second. @param {number} seconds */
    async wait(seconds) {
      for (let step = 0; step < 4 * seconds; step++) {
        clock.now += 250;
        events.look();
        await after(1);
      }
    },
  };
}

test("what the desk shows itself does not reach Gradio, and is news all the same", async () => {
  const page = made();
  await page.join("a");
  await page.read();
  page.streams[0].write(said({ msg: "log", title: "#shown", event_id: "a", log: "refused" }));
  page.streams[0].write(said({ msg: "log", title: "Not done", event_id: "a", log: "at the foot" }, over("a")));
  await after(2);
  assert.ok(!page.text().includes("refused"));
  assert.ok(page.text().includes("at the foot"));
  assert.deepEqual(page.told(), ["a", "a"], "the answer comes");
});

test("an event that the server took after it had ended the stream is answered by another", async () => {
  const page = made();
  await page.join("a");
  await page.read();
  await page.join("b"); // its receipt overtakes the word that the stream has ended
  page.streams[0].write(said(over("a"), CLOSE));
  await after(2);
  assert.equal(page.streams.length, 2);
  page.streams[1].write(said(over("b"), CLOSE));
  await after(2);
  assert.deepEqual(page.told(), ["a", "b"]);
  assert.ok(!page.text().includes("close_stream"), "Gradio's stream does not end");
  await page.wait(60);
  assert.deepEqual([page.streams.length, page.asked()], [2, 0], "nothing is due: nothing is opened or asked for");
  await page.join("c");
  assert.equal(page.streams.length, 3);
});

test("an answer that comes before its receipt is no open question", async () => {
  const page = made();
  await page.join("a");
  await page.read();
  page.streams[0].write(said(over("a"), over("b"), CLOSE));
  await after(2);
  await page.join("b");
  await page.wait(30);
  assert.deepEqual([page.told(), page.streams.length, page.asked()], [["a", "b"], 1, 0]);
});

test("a message may come in pieces, and be cut within a letter", async () => {
  const page = made();
  await page.join("a");
  await page.read();
  const message = said({ ...over("a"), output: "Äpfel" });
  for (const byte of new TextEncoder().encode(message)) page.streams[0].write(Uint8Array.of(byte));
  await after(2);
  assert.equal(page.text(), message);
  assert.equal(page.events.unanswered.size, 0);
});

test("a stream that is cut is opened again, later and later, and no oftener than every 30 seconds", async () => {
  const page = made();
  await page.join("a");
  await page.read();
  page.refuse(401);
  page.streams[0].cut();
  await page.wait(4);
  assert.equal(page.streams.length, 4, "after 0.5, 1 and 2 seconds");
  await page.wait(120);
  const tries = page.streams.length;
  assert.ok(tries <= 11, `${tries}`);
  await page.wait(30.5);
  assert.equal(page.streams.length, tries + 1);
  assert.equal(page.asked(), 0, "an event would be refused as well, before everybody's eyes");
});

test("a stream that ends at once without a word of an event is no reason to open the next at once", async () => {
  const page = made();
  await page.join("a");
  await page.read();
  page.streams[0].write(said(CLOSE));
  await after(5);
  assert.equal(page.streams.length, 1);
  await page.wait(0.5);
  assert.equal(page.streams.length, 2);
});

test("a page that the server has forgotten asks for its events; Gradio does not hear of it", async () => {
  const page = made();
  await page.join("a");
  await page.read();
  page.streams[0].write(said(FORGOTTEN));
  await page.wait(0.75);
  assert.deepEqual([page.asked(), page.events.asked()], [1, { events: ["a"] }]);
  assert.equal(page.text(), "");
  await page.wait(2);
  assert.equal(page.asked(), 2, "after one second, then two");
  await page.join("ask");
  assert.equal(page.streams.length, 2);
});

test("a stream silent for twenty seconds is given up, and its events are asked for", async () => {
  const page = made();
  await page.join("z");
  await page.read();
  page.clock.now += 1;
  await page.join("a");
  await page.wait(19.5);
  assert.equal(page.streams[0].signal.aborted, false);
  await page.wait(0.75);
  assert.equal(page.streams[0].signal.aborted, true);
  const before = page.asked();
  await page.wait(1);
  assert.equal(page.asked(), before + 1);
});

test("an event at work is asked for every ten seconds; its stream is left alone while it says anything", async () => {
  const page = made();
  await page.join("a");
  await page.read();
  for (let beat = 0; beat < 4; beat++) {
    await page.wait(9.75);
    page.streams[0].write(said({ msg: "heartbeat" }));
    await after(2);
  }
  assert.equal(page.asked(), 3);
  assert.equal(page.streams[0].signal.aborted, false);
});

test("a queue that came and was not drawn is asked for, in a whole value and in a change of one", async () => {
  const page = made();
  await page.join("a");
  await page.read();
  page.queue.drawn = 50;
  const value = { msg: "process_generating", event_id: "a", output: { data: [{ items: [], read_at: 70.5 }] } };
  page.streams[0].write(said(value, over("a")));
  await page.wait(0.75);
  assert.equal(page.asked(), 0, "the page may still be drawing it");
  await page.wait(0.5);
  assert.equal(page.asked(), 1);
  await page.wait(5);
  assert.equal(page.asked(), 1, "while the answer is on its way");
  page.queue.drawn = 70.5;
  await page.wait(10);
  const asked = page.asked();
  const change = { msg: "process_generating", event_id: "a", output: { data: [[["replace", ["read_at"], 71]]] } };
  page.streams[0].write(said({ ...value, output: { data: [`"read_at": 99`] } }, change));
  await page.wait(1.25);
  assert.equal(page.asked(), asked + 1);
  page.queue.drawn = 71;
  await page.wait(9);
  assert.equal(page.asked(), asked + 1, "a name that looks like one is none");
});

test("a queue that was not drawn is asked for although the stream has ended with the last answer", async () => {
  const page = made();
  await page.join("a");
  await page.read();
  page.queue.drawn = 50;
  page.streams[0].write(said({ msg: "process_generating", event_id: "a", output: { read_at: 60 } }, over("a"), CLOSE));
  await page.wait(2);
  assert.equal(page.streams.length, 1);
  assert.equal(page.asked(), 1);
  page.queue.drawn = 60;
  await page.wait(20);
  assert.equal(page.asked(), 1);
});

test("a clock that was set back does not make the page ask for ever", async () => {
  const page = made();
  await page.join("a");
  await page.read();
  for (const read_at of [5000, 100]) {
    page.streams[0].write(said({ msg: "heartbeat", read_at }));
    await page.wait(0.25);
    page.queue.drawn = read_at;
  }
  await page.wait(5);
  assert.equal(page.asked(), 0);
});

test("what Gradio gives up is given up here, and the next it reads is another", async () => {
  const page = made();
  await page.join("a");
  const first = await page.read();
  first.end.abort();
  assert.equal(await first.done, "ended");
  assert.equal(page.streams[0].signal.aborted, true);
  await page.wait(9.5);
  assert.deepEqual([page.streams.length, page.asked()], [1, 0], "nobody reads");
  await page.wait(0.5);
  assert.equal(page.asked(), 1, "with this event Gradio opens a stream");
  await page.read();
  page.streams[1].write(said(over("a")));
  await after(2);
  assert.deepEqual(page.told(), ["a"]);
});

test("what is no receipt and no message is passed on and trips nothing", async () => {
  const page = made();
  for (const words of ["", "null", "[]", '{"event_id": 5}', "<html>", '{"event_id": null}']) await page.join("", words);
  assert.equal(page.events.unanswered.size, 0);
  await page.join("a");
  await page.read();
  const odd = ["data: null\n\n", "data: 7\n\n", ": a comment\n\n", "data\n\n", 'data: {"event_id": {}}\n\n'];
  for (const one of odd) page.streams[0].write(one);
  page.streams[0].write(said(over("a"), CLOSE));
  await after(2);
  assert.equal(page.text(), odd.join("") + said(over("a")));
});

test("of two queues the one read later is shown, unless the clock was set back by a minute or more", () => {
  const shown = { items: [], read_at: 1000 };
  for (const [read_at, later] of /** @type {[number | undefined, boolean][]} */ ([
    [1000, true],
    [1000.1, true],
    [999.9, false],
    [940.1, false],
    [940, true],
    [NaN, true],
    [undefined, true],
  ])) {
    const told = { items: [], read_at };
    assert.equal(laterRead(shown, told), later ? told : shown, String(read_at));
  }
});
