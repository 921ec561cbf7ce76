// @ts-check
// When the desk does not answer. Gradio says nothing when an event is refused at the door or the server is away;
// somebody who has just pressed "search" must know that it was not recorded.

const HINT_MS = 6000;
const SIGNED_OUT =
  "You are signed out, so this was not done. Sign in again in another tab, then repeat it: nothing here is lost.";
const AWAY = "The desk does not answer, so this was not done. Nothing here is lost; try again in a moment.";
const TOO_LARGE = "These files are too large to be sent together. Send fewer at a time.";

/** A bar that stays until something else is said; `null` takes it away.
 * @param {string | null} words @param {string} [link] where one signs in */
function alarm(words, link) {
  const bar = replaceBar("desk-alarm", words);
  if (!bar || !link) return;
  const way = document.createElement("a");
  way.href = link;
  way.target = "_blank";
  way.textContent = "Sign in";
  bar.append(way);
}

/** Words that go after a few seconds. @param {string} words */
export function say(words) {
  const bar = replaceBar("desk-hint", words);
  setTimeout(() => bar?.remove(), HINT_MS);
}

/** @param {string} id @param {string | null} words */
function replaceBar(id, words) {
  document.getElementById(id)?.remove();
  if (!words) return null;
  const bar = document.createElement("div");
  bar.id = id;
  bar.setAttribute("role", "alert");
  bar.append(words);
  document.body.append(bar);
  return bar;
}

/** What is said about an answer's status; null where all is well. @param {number} status */
export function wordsOf(status) {
  if (status === 401) return SIGNED_OUT;
  if (status === 413) return TOO_LARGE;
  return status >= 500 ? AWAY : null;
}

/** @param {RequestInfo | URL} address */
function isOfGradio(address) {
  try {
    const url = address instanceof Request ? address.url : address;
    return new URL(url, location.href).pathname.includes("/gradio_api/");
  } catch {
    return false;
  }
}

/** Watches every request of Gradio's. @param {() => void} alarmed called at each alarm */
export function watchAnswers(alarmed) {
  const plainFetch = window.fetch.bind(window);
  /** @param {string} words @param {string} [link] */
  const raise = (words, link) => {
    alarmed();
    alarm(words, link);
  };
  window.fetch = async (address, ...rest) => {
    const watched = isOfGradio(address);
    let answer;
    try {
      answer = await plainFetch(address, ...rest);
    } catch (fault) {
      if (watched && !(fault instanceof DOMException && fault.name === "AbortError")) raise(AWAY);
      throw fault;
    }
    if (!watched) return answer;
    const words = wordsOf(answer.status);
    if (words) raise(words, answer.status === 401 ? "../signin" : undefined);
    else alarm(null);
    return answer;
  };
}
