"""What keeps people out of a page in a browser: found by axe, and by looking at every colour."""

from pathlib import Path

LOW_CONTRAST = """
() => {
  const number = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => {
    const [x, y, z] = [r, g, b].map((v) => (v / 255 <= 0.04045 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  const ground = (element) => {
    for (let each = element; each; each = each.parentElement) {
      const colour = number(getComputedStyle(each).backgroundColor);
      if (colour.length === 3 || colour[3] === 1) return colour;
    }
    return [255, 255, 255];
  };
  const found = [];
  for (const element of document.querySelectorAll("body *")) {
    const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
    if (!own || !element.checkVisibility() || element.closest(".visually-hidden, .skip-link, noscript")) continue;
    const style = getComputedStyle(element);
    const [a, b] = [light(number(style.color)), light(ground(element))].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    const large = parseFloat(style.fontSize) >= 24;
    if (ratio < (large ? 3 : 4.5)) found.push(`${element.textContent.trim().slice(0, 40)}: ${ratio.toFixed(2)}`);
  }
  for (const choice of document.querySelectorAll("input[type=radio]:not(:checked)")) {
    if (!choice.checkVisibility()) continue;
    const edge = light(number(getComputedStyle(choice).borderTopColor));
    const [a, b] = [edge, light(ground(choice.parentElement))].sort((x, y) => y - x);
    if ((a + 0.05) / (b + 0.05) < 3) found.push(`a choice that is not made: ${((a + 0.05) / (b + 0.05)).toFixed(2)}`);
  }
  return found;
}
"""
"""Lists visible text, and choices that are not made, whose contrast is below WCAG 2.2's AA."""


BARRIERS = """
async () => {
  const { violations } = await axe.run(document, { resultTypes: ["violations"] });
  return violations.map(({ id, nodes }) => `${id}: ${nodes[0].html}`);
}
"""
"""Lists what keeps people out who do not see, or use no mouse, as far as axe finds it."""

AXE = Path(__file__).parents[1] / "node_modules/axe-core/axe.min.js"
