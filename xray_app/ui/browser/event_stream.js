// @ts-check
// The way the answers to a page's events come: Gradio tells them all by one stream, which the server ends after the
// last answer that is due; with the next event Gradio opens another. Two things are seen to here, between Gradio and
// fetch.
//
// 1. No event falls between two streams. Gradio learns from `close_stream` that a stream has ended. An event that the
//    server took after it had ended the stream, and whose receipt overtook that word, found the stream "open": Gradio
//    opened none, and its answer waited for ever. So Gradio gets the receipt of an event only when the stream has
//    spoken of this event, or when Gradio knows that there is none.
// 2. An event without news for ten seconds is asked for, by an event of its own (`event_stream.py`).

const LONGEST_HELD = 5000;
const MOST_ASKED = 100;
const CLOSED = 'data: {"msg":"close_stream","event_id":null}\n\n';

/**
 * The newest stream.
 * @typedef {object} Stream
 * @property {boolean} open whether Gradio takes it for open
 * @property {Map<string, string>} spoken the last message of each event that it has spoken of
 * @property {number} heardAt when it last said anything (`performance.now()`)
 * @property {() => void} end ends it
 */

/**
 * @param {boolean} open
 * @returns {Stream}
 */
const silentStream = open => ({ open, spoken: new Map(), heardAt: performance.now(), end() {} });

/** @param {RequestInfo | URL} address */
function pathOf(address) {
  try {
    return new URL(address instanceof Request ? address.url : address, location.href).pathname;
  } catch {
    return "";
  }
}

/** Stands between Gradio and `fetch` from now on, and asks for events without news. */
export function watchEvents() {
  const plainFetch = window.fetch.bind(window);
  /** @type {Map<string, number>} ids of events without their last answer, and when there was news of each */
  const unanswered = new Map();
  /** @type {Map<string, () => void>} how Gradio is given the receipts that it does not have yet */
  const held = new Map();
  let stream = silentStream(false);
  let askedAt = -Infinity;
  const events = {
    /** ms without news after which an event is asked for */
    silence: 10000,
    /** What the asking event tells the server. */
    asked: () => ({ events: silent(1).slice(0, MOST_ASKED) }),
  };
  Object.assign(window, { xrayEvents: events });

  window.fetch = async (address, options) => {
    const path = pathOf(address);
    if (path.endsWith("/gradio_api/queue/data")) return listen(address, options);
    const answer = await plainFetch(address, options);
    if (path.endsWith("/gradio_api/queue/join") && answer.ok) await mayBeKnown((await answer.clone().json()).event_id);
    return answer;
  };

  /**
   * Opens a stream, and hands it on while noting what it speaks of.
   * @param {RequestInfo | URL} address
   * @param {RequestInit} [options]
   */
  async function listen(address, options) {
    const mine = (stream = silentStream(true));
    const over = () => {
      mine.open = false;
      if (mine === stream) [...held.keys()].forEach(release);
    };
    /** @type {Promise<null>} */
    const cut = new Promise(end => {
      mine.end = () => end(null);
    });
    const signal = address instanceof Request ? address.signal : options?.signal;
    signal?.addEventListener("abort", over); // Gradio has read `close_stream`
    let answer;
    try {
      answer = await Promise.race([plainFetch(address, options), cut]);
    } catch (fault) {
      over();
      throw fault;
    }
    if (answer === null) return new Response(CLOSED); // Gradio then gives up the request
    if (!answer.ok || !answer.body) {
      over();
      return answer;
    }
    const reader = answer.body.getReader();
    const decoder = new TextDecoder();
    let begun = "";
    let closing = false;
    /** @param {string} piece of the stream; a message may come in several */
    const hear = piece => {
      const lines = (begun + piece).split("\n");
      begun = lines.pop() ?? "";
      mine.heardAt = performance.now();
      for (const line of lines) {
        let said;
        try {
          said = JSON.parse(line.slice(line.indexOf(":") + 1));
        } catch {
          continue;
        }
        if (said.msg === "close_stream") closing = true;
        if (!said.event_id) continue;
        mine.spoken.set(said.event_id, said.msg);
        if (said.msg === "process_completed") unanswered.delete(said.event_id);
        else unanswered.set(said.event_id, mine.heardAt);
        release(said.event_id);
      }
    };
    const passedOn = new ReadableStream({
      async pull(controller) {
        const read = await Promise.race([reader.read(), cut]);
        if (read !== null && !read.done) {
          hear(decoder.decode(read.value, { stream: true }));
          controller.enqueue(read.value);
          return;
        }
        if (!closing) controller.enqueue(new TextEncoder().encode(CLOSED)); // cut on its way: Gradio must know
        controller.close();
      },
      cancel: reason => reader.cancel(reason),
    });
    return new Response(passedOn, { status: answer.status, statusText: answer.statusText, headers: answer.headers });
  }

  /**
   * Waits until Gradio may know that the server has taken an event.
   * @param {string} id
   */
  async function mayBeKnown(id) {
    const last = stream.spoken.get(id);
    if (last !== "process_completed") unanswered.set(id, performance.now());
    if (last || !stream.open) return;
    await new Promise(done => {
      held.set(id, () => done(null));
      setTimeout(release, LONGEST_HELD, id);
    });
  }

  /** @param {string} id */
  function release(id) {
    const done = held.get(id);
    held.delete(id);
    if (done) done();
  }

  /**
   * The events without news for so many times the silence allowed.
   * @param {number} times
   */
  function silent(times) {
    const since = performance.now() - times * events.silence;
    return [...unanswered].filter(([, at]) => at <= since).map(([id]) => id);
  }

  setInterval(() => {
    // The server has taken an event since it last said anything here, and would have spoken of it at once.
    if (stream.open && silent(2).some(id => (unanswered.get(id) ?? 0) > stream.heardAt)) {
      stream.end();
      askedAt = -Infinity;
      return;
    }
    if (!silent(1).length || performance.now() - askedAt < events.silence) return;
    askedAt = performance.now();
    const ask = document.querySelector("#ask-unanswered");
    const button = ask?.querySelector("button") ?? ask;
    if (button instanceof HTMLElement) button.click();
  }, 250);
}
