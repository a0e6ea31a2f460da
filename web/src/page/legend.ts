// What the colors mean: the families that are seen, or the scale of a measure with its numbers; and those of pictures.

import { activation, strip, viridis } from "./colors.ts";
import { fill, make } from "./dom.ts";
import { type Coloring, saidOf } from "./measures.ts";
import type { Box } from "../map/scene.ts";
import type { Theme } from "./theme.ts";

/** `signs`: of the pictures that are drawn, whether their values have a sign. */
export function legend(into: HTMLElement, boxes: Box[], coloring: Coloring | null, theme: Theme, signs: Set<boolean>): void {
  const pictures = [false, true].filter((signed) => signs.has(signed)).map((signed) => scaleOf(signed, theme));
  if (coloring) {
    const scale = strip(viridis, 160, "from dark to bright");
    const { measure, low, high } = coloring;
    const ends = make("div", { class: "ends" }, make("span", {}, saidOf(measure, low)), scale, make("span", {}, saidOf(measure, high)));
    const how = measure.scale === "log" ? "logarithmic, of the boxes that are seen" : "of the boxes that are seen";
    return fill(into, make("b", {}, measure.title), ends, make("span", { class: "quiet" }, how), ...pictures);
  }
  const families = new Set(boxes.map((box) => box.family));
  const known = Object.keys(theme.families).filter((family) => families.has(family));
  const spots = known.map((family) => {
    const spot = make("i");
    spot.style.background = theme.families[family];
    return make("span", { class: "family" }, spot, family === "group" ? "module" : family === "io" ? "input, output" : family);
  });
  fill(into, ...spots, ...pictures);
}

/** The scale of activations: each box has its own largest value, which its panel tells. */
function scaleOf(signed: boolean, theme: Theme): HTMLElement {
  const scale = strip((share) => activation(share, signed, theme.dark), 60, "from the least to the largest value of a box");
  const [low, high] = signed ? ["−", "+ largest of a box"] : ["0", "largest of a box"];
  return make("div", { class: "ends" }, make("span", {}, low), scale, make("span", {}, high));
}
