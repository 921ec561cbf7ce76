// What the desk tells that lies over a part of the page which can be seen: what is told, and what it covers.
() => {
  const TOLD =
    ".toast-body, .refusal, #confirm, #flagged, #answered, #desk-hint, #desk-alarm, .said, #undo-decision, .conflict";
  const PARTS =
    ".risk, .stage, .tabitem :is(button, input, textarea, table, p, h2, label, li), [role=tab], .desk-head button, .toast-text";
  const seen = node => node.checkVisibility({ visibilityProperty: true, opacityProperty: true });
  /** The part of a node that is on the screen: what scrolls around it may hide the rest. */
  const place = node => {
    let { left, top, right, bottom } = node.getBoundingClientRect();
    for (let one = node.parentElement; one; one = one.parentElement) {
      if (getComputedStyle(one).overflow === "visible" || getComputedStyle(node).position === "fixed") continue;
      const around = one.getBoundingClientRect();
      [left, right] = [Math.max(left, around.left), Math.min(right, around.right)];
      [top, bottom] = [Math.max(top, around.top), Math.min(bottom, around.bottom)];
    }
    [left, top] = [Math.max(left, 0), Math.max(top, 0)];
    [right, bottom] = [Math.min(right, innerWidth), Math.min(bottom, innerHeight)];
    return { left, top, right, bottom };
  };
  const wide = (a, b) => Math.min(a.right, b.right) - Math.max(a.left, b.left);
  const high = (a, b) => Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
  const all = selector =>
    [...document.querySelectorAll(selector)].filter(seen).map(node => ({ node, at: place(node) }));
  const parts = all(PARTS);
  const name = node =>
    `${node.tagName.toLowerCase()}#${node.id}.${node.className} ${node.textContent.trim().slice(0, 20)}`;
  /** What is sticky is the edge of what scrolls past it: only what stands outside of that can be covered. */
  const edge = node => {
    for (let one = node; one; one = one.parentElement)
      if (getComputedStyle(one).position === "sticky") return one.parentElement;
    return node;
  };
  return all(TOLD).flatMap(told =>
    parts
      .filter(({ node }) => !edge(told.node).contains(node) && !node.contains(told.node))
      .filter(({ at }) => wide(told.at, at) > 1 && high(told.at, at) > 1)
      .map(({ node }) => [name(told.node), name(node)]),
  );
};
