// @ts-check
// What is told at the foot of the page: the messages that Gradio lays over it, above which every tab ends, however many
// they are; and the routine words, which fade.

const MESSAGES = ".toast-wrap";
const LEAST_PX = 28;

/** Gives the messages the room they take. */
export function makeRoomForMessages() {
  const sized = new ResizeObserver(entries => {
    const height = entries[0]?.target.getBoundingClientRect().height ?? 0;
    document.documentElement.style.setProperty("--foot", `${Math.max(LEAST_PX, Math.ceil(height))}px`);
  });
  const built = new MutationObserver(() => {
    const messages = document.querySelector(MESSAGES);
    if (!messages) return;
    built.disconnect();
    sized.observe(messages);
  });
  built.observe(document.documentElement, { childList: true, subtree: true });
}

/** Gradio may write new words into the element of the old ones, which have faded: they are to be seen anew. */
export function showWordsAnew() {
  new MutationObserver(changes => {
    for (const { target } of changes) {
      if (!(target instanceof Element)) continue;
      for (const fading of target.getAnimations()) {
        fading.cancel();
        fading.play();
      }
    }
  }).observe(document.documentElement, { attributes: true, attributeFilter: ["data-said"], subtree: true });
}
