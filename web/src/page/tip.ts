// The words beside the pointer, kept on the map.

import type { Place } from "./camera.ts";

const APART = { x: 14, below: 18, above: 8, edge: 4 };

/** Put words beside a place: below it, or above it where there is no room. */
export function beside(tip: HTMLElement, at: Place, within: { width: number; height: number }): void {
  const { offsetWidth: wide, offsetHeight: tall } = tip;
  const below = at.y + APART.below;
  const fits = below + tall + APART.edge <= within.height;
  const left = Math.min(at.x + APART.x, within.width - wide - APART.edge);
  tip.style.left = `${Math.max(left, APART.edge)}px`;
  tip.style.top = `${fits ? below : Math.max(at.y - APART.above - tall, APART.edge)}px`;
}
