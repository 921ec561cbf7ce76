// What reaches past the right edge of the screen and cannot be scrolled to within a part of the page, and which of
// the page's parts cover each other.
() => {
  const found = [],
    root = document.documentElement;
  if (root.scrollWidth > innerWidth) found.push(`the page is ${root.scrollWidth} wide`);
  const within = node => {
    for (let one = node.parentElement; one && one !== document.body; one = one.parentElement)
      if (getComputedStyle(one).overflowX !== "visible") return true;
    return false;
  };
  for (const node of document.querySelectorAll(".gradio-container *")) {
    if (node.closest("svg") || !node.checkVisibility({ visibilityProperty: true, opacityProperty: true })) continue;
    const at = node.getBoundingClientRect();
    if (at.width > 1 && at.height > 1 && at.right > innerWidth + 1 && !within(node))
      found.push(`${node.tagName} #${node.id} .${node.className} to ${Math.round(at.right)}`);
  }
  const parts = [
    ...[
      "#banner #decision #queue #picture #side #annotate-left #annotate-picture #review-left #review-middle",
      ".desk-side .demo .desk-name .desk-user .theme",
    ]
      .join(" ")
      .split(" "),
    ".desk-head form",
    "#tabs > .tab-wrapper [role=tab]",
    ".toolbar button",
  ]
    .flatMap(selector => [...document.querySelectorAll(selector)])
    .filter(node => node.checkVisibility({ visibilityProperty: true }) && node.offsetWidth);
  for (const [at, one] of parts.entries())
    for (const other of parts.slice(at + 1)) {
      if (one.contains(other) || other.contains(one)) continue;
      const a = one.getBoundingClientRect(),
        b = other.getBoundingClientRect();
      const wide = Math.min(a.right, b.right) - Math.max(a.left, b.left),
        high = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
      if (wide > 2 && high > 2)
        found.push(
          [one, other].map(node => `${node.tagName}#${node.id} ${node.textContent.slice(0, 12)}`).join(" covers "),
        );
    }
  return found.slice(0, 8);
};
