// @ts-check
// How the answers to a page's events come. Gradio's server tells them all by one stream, which it ends after the last
// answer that is due, and Gradio's page opens another with its next event. Alone these two lose events:
//
// - The page learns from `close_stream` that a stream has ended. Where the receipt of its next event overtakes that
//   word, it takes the stream for open and opens none, and the answer waits for ever.
// - A page never opens a stream again that was cut on its way.
//
// So this stands between Gradio and fetch: Gradio reads one stream that does not end, and here streams of the server
// are opened as long as an event has no answer, at longer and longer intervals where that fails. An event without news
// for ten seconds is asked for, by an event of its own (`event_stream.py`). Its answer brings the queue as it is
// stored, so it is asked too where a queue came that was never drawn: of several values that come at once, Gradio shows
// the last, and that may be the one of an event that had read the store before, or the word that nothing has changed.
import { desk } from "./page_desk.js";
import { showRefusal } from "./refusals.js";
import { laterRead } from "./strip.js";

const FIRST_PAUSE = 500;
const LONGEST_PAUSE = 30_000;
const MOST_ASKED = 100;
const LOOK_EVERY_MS = 250;
const DRAWN_WITHIN_MS = 1000;
/** In a whole value, and in what has changed of one. Within a text the quotes are escaped. */
const READ_AT = /"read_at"(?:\]\s*,|\s*:)\s*(\d+(?:\.\d+)?)/g;

/** @typedef {{to: ReadableStreamDefaultController<Uint8Array>, request: Request}} Reader what Gradio reads */
/**
 * A stream of the server.
 * @typedef {object} Stream
 * @property {AbortController} end gives it up
 * @property {number} heardAt when it said something last
 * @property {boolean} spoke whether it told of an event
 */
/**
 * @typedef {object} Surroundings
 * @property {typeof window.fetch} fetch
 * @property {() => number} now milliseconds
 * @property {() => void} ask sends the event that asks for `asked()`
 * @property {() => number} drawn `read_at` of the queue that is drawn
 * @property {(said: Record<string, unknown>) => boolean} shown whether the desk shows a message itself
 */

/** The path of an address; the page's own origin does not matter. @param {RequestInfo | URL} address */
function pathOf(address) {
  try {
    return new URL(address instanceof Request ? address.url : address, "http://page").pathname;
  } catch {
    return "";
  }
}

/** What a text says, where it is a JSON object; else nothing.
 * @param {string} text @returns {Record<string, unknown>} */
function read(text) {
  try {
    const said = JSON.parse(text);
    return typeof said === "object" && said !== null ? said : {};
  } catch {
    return {};
  }
}

/** The events that wait for an answer, and the stream that brings it. Times are in milliseconds. */
export class EventStream {
  /** @param {Surroundings} surroundings */
  constructor({ fetch, now, ask, drawn, shown }) {
    this.plainFetch = fetch;
    this.now = now;
    this.ask = ask;
    this.drawn = drawn;
    this.shown = shown;
    /** Without news for so long, an event is asked for. */
    this.silence = 10_000;
    /** A stream without a word for so long since an event was taken is given up, and what waits there is lost. */
    this.deafness = 20_000;
    /** @type {Map<string, number>} when there was news of each event without its last answer, by its id */
    this.unanswered = new Map();
    /** @type {Set<string>} events whose last answer came before their receipt */
    this.early = new Set();
    /** @type {Reader | null} */
    this.gradio = null;
    /** @type {Stream | null} */
    this.server = null;
    /** Whether the server has forgotten the page: it has no stream for it until the next event. */
    this.forgotten = false;
    this.pause = FIRST_PAUSE;
    this.nextTry = -Infinity;
    this.askedAt = -Infinity;
    /** `read_at` of the newest queue that came, and when it did. */
    this.queue = { read_at: 0, cameAt: 0 };
  }

  /** Takes the place of `fetch`.
   * @param {RequestInfo | URL} address @param {RequestInit} [options] */
  async fetch(address, options) {
    const path = pathOf(address);
    if (path.endsWith("/gradio_api/queue/data")) return this.listen(new Request(address, options));
    const answer = await this.plainFetch(address, options);
    if (path.endsWith("/gradio_api/queue/join") && answer.ok) {
      const { event_id: id } = read(await answer.clone().text());
      if (typeof id === "string") this.taken(id);
    }
    return answer;
  }

  /** The stream that Gradio reads until it gives it up itself. @param {Request} request */
  listen(request) {
    request.signal.throwIfAborted();
    /** @type {Reader} */
    let reader;
    const leave = () => {
      if (this.gradio !== reader) return;
      this.gradio = null;
      this.server?.end.abort();
      this.server = null;
    };
    const body = new ReadableStream({
      start: to => {
        this.gradio = reader = { to, request };
        request.signal.addEventListener("abort", () => {
          if (this.gradio !== reader) return;
          leave();
          to.close(); // an error here would be shown as a connection that was lost
        });
        if (!this.server) this.follow();
      },
      cancel: leave,
    });
    return new Response(body, { headers: { "content-type": "text/event-stream" } });
  }

  /** The server has taken an event. @param {string} id */
  taken(id) {
    this.forgotten = false;
    if (this.early.delete(id)) return;
    this.unanswered.set(id, this.now());
    if (!this.server) this.follow();
  }

  /** Reads a stream of the server to its end, and opens the next while answers are due. */
  async follow() {
    const { gradio } = this;
    if (!gradio) return;
    const mine = { end: new AbortController(), heardAt: this.now(), spoke: false };
    this.server = mine;
    let ended = false;
    try {
      ended = await this.passOn(mine, gradio.request);
    } catch (fault) {
      if (!mine.end.signal.aborted) console.warn("The stream of answers was cut.", fault);
    }
    if (mine !== this.server) return;
    this.server = null;
    if (!ended || !mine.spoke) this.tryLater();
    else if (this.unanswered.size) this.follow(); // taken after the server had ended the stream
  }

  /** Hands to Gradio what a stream says.
   * @param {Stream} mine @param {Request} request
   * @returns {Promise<boolean>} whether the server ended it, because no answer is due */
  async passOn(mine, request) {
    const answer = await this.plainFetch(new Request(request, { signal: mine.end.signal }));
    if (!answer.ok || !answer.body) throw new Error(`no stream of answers: ${answer.status}`);
    const bytes = new TextEncoder();
    const letters = new TextDecoder();
    const reader = answer.body.getReader();
    for (let begun = ""; ;) {
      const { done, value } = await reader.read();
      if (done || mine !== this.server) return false;
      const messages = (begun + letters.decode(value, { stream: true })).split("\n\n");
      begun = messages.pop() ?? "";
      mine.heardAt = this.now();
      for (const message of messages) {
        const said = read(message.slice(message.indexOf(":") + 1));
        if (said.msg === "close_stream") return true;
        if (said.session_not_found === true) {
          this.forgotten = true; // Gradio would load the page again; what it waits for is asked for instead
          return false;
        }
        this.hear(mine, said);
        this.noteQueue(message);
        if (this.shown(said)) continue;
        this.gradio?.to.enqueue(bytes.encode(`${message}\n\n`));
      }
    }
  }

  /** Notes what a message says of its event. @param {Stream} stream @param {Record<string, unknown>} said */
  hear(stream, { msg, event_id: id }) {
    if (typeof id !== "string") return;
    stream.spoke = true;
    this.pause = FIRST_PAUSE;
    const waited = this.unanswered.has(id);
    if (msg !== "process_completed") {
      if (waited) this.unanswered.set(id, this.now());
    } else if (!this.unanswered.delete(id)) this.early.add(id);
  }

  /** @param {string} message */
  noteQueue(message) {
    for (const [, digits] of message.matchAll(READ_AT)) {
      const told = { read_at: Number(digits), cameAt: this.now() };
      if (told.read_at !== this.queue.read_at) this.queue = laterRead(this.queue, told);
    }
  }

  /** Whether a queue came that was not drawn in time. */
  behind() {
    const drawn = this.drawn();
    return drawn > 0 && this.queue.read_at > drawn && this.now() - this.queue.cameAt >= DRAWN_WITHIN_MS;
  }

  tryLater() {
    this.nextTry = this.now() + this.pause;
    this.pause = Math.min(2 * this.pause, LONGEST_PAUSE);
  }

  /** The events without news for so many milliseconds. @param {number} duration */
  silent(duration) {
    const since = this.now() - duration;
    return [...this.unanswered].filter(([, at]) => at <= since).map(([id]) => id);
  }

  /** What the asking event tells the server. */
  asked() {
    return { events: this.silent(this.forgotten ? 0 : this.silence).slice(0, MOST_ASKED) };
  }

  /** Sees to it that answers come: to be called now and then. */
  look() {
    const { server } = this;
    const now = this.now();
    // It has taken an event since it last said anything here, and would have spoken of it at once.
    if (server && this.silent(this.deafness).some(id => (this.unanswered.get(id) ?? 0) > server.heardAt)) {
      this.server = null;
      server.end.abort();
      this.forgotten = true; // with the stream the server gives up what it had to say by it
      this.tryLater();
    } else if (this.gradio && !server) {
      if (!this.unanswered.size)
        this.askOf(this.behind()); // the stream has ended, and the queue with it
      else if (now < this.nextTry) return;
      else if (!this.forgotten) this.follow();
      else {
        this.tryLater();
        this.ask();
      }
    } else this.askOf(this.behind() || this.silent(this.silence).length > 0);
  }

  /** Asks, where there is something to ask for and nobody just has. @param {boolean} due */
  askOf(due) {
    if (!due || this.now() - this.askedAt < this.silence) return;
    this.askedAt = this.now();
    this.ask();
  }
}

/** Stands between Gradio and `fetch` from now on, and asks for events without news. */
export function watchEvents() {
  const events = new EventStream({
    fetch: window.fetch.bind(window),
    now: () => performance.now(),
    drawn: () => desk.queueReadAt,
    shown: showRefusal,
    ask: () => {
      const ask = document.querySelector("#ask-unanswered");
      const button = ask?.querySelector("button") ?? ask;
      if (button instanceof HTMLElement) button.click();
    },
  });
  Object.assign(window, { xrayEvents: events });
  window.fetch = (address, options) => events.fetch(address, options);
  setInterval(() => events.look(), LOOK_EVERY_MS);
}
