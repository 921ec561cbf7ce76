// What reaches past the right edge of the screen and cannot be scrolled to within a part of the page.
() => {
  const found = [], root = document.documentElement;
  if (root.scrollWidth > innerWidth) found.push(`the page is ${root.scrollWidth} wide`);
  const within = node => {
    for (let one = node.parentElement; one && one !== document.body; one = one.parentElement) if (getComputedStyle(one).overflowX !== "visible") return true;
    return false;
  };
  for (const node of document.querySelectorAll(".gradio-container *")) {
    if (node.closest("svg") || !node.checkVisibility({ visibilityProperty: true, opacityProperty: true })) continue;
    const at = node.getBoundingClientRect();
    if (at.width > 1 && at.height > 1 && at.right > innerWidth + 1 && !within(node)) found.push(`${node.tagName} #${node.id} .${node.className} to ${Math.round(at.right)}`);
  }
  return found.slice(0, 8);
}
