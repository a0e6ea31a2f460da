// Opening and closing in motion: what stays moves to its new place, what is new comes out of the box that held it.

import type { Sheet } from "./sheet.ts";
import { type Stage, type State, itemOf } from "./state.ts";

const DURATION = 240;
const NETWORK = -1; // the group of everything, as an item
const MOST = 1200; // boxes that still move smoothly

export interface Motion {
  from: Float64Array; // rectangles of the boxes, on the sheet
  to: Float64Array;
  began: number;
}

export const stillness = (): boolean => matchMedia("(prefers-reduced-motion: reduce)").matches;

/** Where the boxes of the new stage come from; null where nothing should move. */
export function motion(state: State, before: Stage, was: Sheet, after: Stage, sheet: Sheet, now: number): Motion | null {
  if (stillness() || Math.max(before.view.boxes.length, after.view.boxes.length) > MOST) return null;
  const places = was.placesOf(before.placed.boxes);
  const known = new Map<number, ArrayLike<number>>();
  before.view.frames.forEach((frame, f) => known.set(~frame.group, was.around(before.placed.frames.subarray(4 * f, 4 * f + 4))));
  before.view.boxes.forEach((box, b) => known.set(itemOf(box), places.subarray(4 * b, 4 * b + 4)));
  known.delete(NETWORK);
  const parent = state.graph.groups.parent;
  const around = (item: number): number => (item >= 0 ? ~state.graph.nodes.group[item] : ~parent[~item]);
  const to = sheet.placesOf(after.placed.boxes);
  const from = to.slice();
  after.view.boxes.forEach((box, b) => {
    let at = itemOf(box);
    while (at !== NETWORK && !known.has(at)) at = around(at);
    const place = known.get(at);
    if (place) from.set(place, 4 * b);
  });
  return { from, to, began: now };
}

/** From 0 to 1, slow at both ends. */
export function eased(motion: Motion, now: number): number {
  const t = Math.min(Math.max((now - motion.began) / DURATION, 0), 1);
  return t * t * (3 - 2 * t);
}

export function between({ from, to }: Motion, share: number): Float64Array {
  return from.map((v, i) => v + (to[i] - v) * share);
}
