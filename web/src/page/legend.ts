// What the colors mean: the families that are seen, or the scale of a measure with its numbers.

import { fill, make } from "./dom.ts";
import { type Coloring, saidOf } from "./measures.ts";
import type { Box } from "../map/scene.ts";
import { type Theme, css, viridis } from "./theme.ts";

export function legend(into: HTMLElement, boxes: Box[], coloring: Coloring | null, theme: Theme): void {
  if (coloring) {
    const scale = make("canvas", { width: 160, height: 10, role: "img", "aria-label": "from dark to bright" });
    const to = scale.getContext("2d")!;
    for (let x = 0; x < 160; x++) {
      to.fillStyle = css(viridis(x / 159));
      to.fillRect(x, 0, 1, 10);
    }
    const { measure, low, high } = coloring;
    const ends = make("div", { class: "ends" }, make("span", {}, saidOf(measure, low)), scale, make("span", {}, saidOf(measure, high)));
    const how = measure.scale === "log" ? "logarithmic, of the boxes that are seen" : "of the boxes that are seen";
    return fill(into, make("b", {}, measure.title), ends, make("span", { class: "quiet" }, how));
  }
  const families = new Set(boxes.map((box) => box.family));
  const known = Object.keys(theme.families).filter((family) => families.has(family));
  fill(
    into,
    ...known.map((family) => {
      const spot = make("i");
      spot.style.background = theme.families[family];
      return make("span", { class: "family" }, spot, family === "group" ? "module" : family === "io" ? "input, output" : family);
    }),
  );
}
