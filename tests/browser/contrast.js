// Every text on the page whose contrast is below WCAG AA: [words, colour, ground, ratio]. What is drawn on a scan
// has an outline of its own, and what cannot be pressed now is exempt.
() => {
  const canvas = Object.assign(document.createElement("canvas"), {
    width: 1,
    height: 1,
  });
  const paint = canvas.getContext("2d", { willReadFrequently: true });
  const rgba = colour => {
    paint.clearRect(0, 0, 1, 1);
    paint.fillStyle = colour;
    paint.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = paint.getImageData(0, 0, 1, 1).data;
    return [r, g, b, a / 255];
  };
  const over = ([r, g, b, a], ground) => [r, g, b].map((value, at) => value * a + ground[at] * (1 - a));
  const chain = node => {
    const found = [];
    for (let one = node; one; one = one.parentElement) found.unshift(one);
    return found;
  };
  /** What lies behind a node, with the opacity of each group on the way applied to its ground. */
  const groundOf = node => {
    let ground = [255, 255, 255],
      opacity = 1;
    for (const one of chain(node)) {
      const style = getComputedStyle(one);
      opacity *= Number(style.opacity);
      const [r, g, b, a] = rgba(style.backgroundColor);
      ground = over([r, g, b, a * opacity], ground);
    }
    return [ground, opacity];
  };
  const luminance = colour => {
    const [r, g, b] = colour
      .map(value => value / 255)
      .map(value => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ratio = (a, b) => {
    const [dark, light] = [luminance(a), luminance(b)].sort((x, y) => x - y);
    return (light + 0.05) / (dark + 0.05);
  };
  const found = [];
  const judge = (node, words, style) => {
    const [ground, opacity] = groundOf(node);
    const [r, g, b, a] = rgba(node instanceof SVGElement ? style.fill : style.color);
    const ink = over([r, g, b, a * opacity], ground),
      size = parseFloat(style.fontSize);
    const large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
    const value = ratio(ink, ground);
    if (value < (large ? 3 : 4.5))
      found.push([
        [
          `${node.tagName} ${node.className.baseVal ?? node.className}`,
          `#${node.closest("[id]")?.id}: ${words.slice(0, 40)}`,
        ].join(" "),
        ink.map(Math.round).join(","),
        ground.map(Math.round).join(","),
        value.toFixed(2),
      ]);
  };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let text = walker.nextNode(); text; text = walker.nextNode()) {
    const words = text.textContent.trim(),
      node = text.parentElement;
    if (!words || !node || /^(SCRIPT|STYLE|TITLE|OPTION)$/.test(node.tagName.toUpperCase())) continue;
    if (!node.checkVisibility({ opacityProperty: true, visibilityProperty: true })) continue;
    if (
      node.closest(
        "svg.scan, .view svg, .version svg, :disabled, [aria-disabled=true], .said, .vega-embed, .no-scan .toolbar",
      )
    )
      continue;
    judge(node, words, getComputedStyle(node));
  }
  for (const field of document.querySelectorAll("input, textarea")) {
    if (
      !field.checkVisibility({
        opacityProperty: true,
        visibilityProperty: true,
      }) ||
      field.disabled
    )
      continue;
    if (field.placeholder && !field.value) judge(field, field.placeholder, getComputedStyle(field, "::placeholder"));
    else if (field.value && !/^(range|checkbox|radio|file|hidden)$/.test(field.type))
      judge(field, field.value, getComputedStyle(field));
  }
  return found;
};
