// Opening and closing in motion: what stays moves to its new place, what is new comes out of the box that held it.

import type { Box, Frame } from "../map/scene.ts";
import { type Stage, type State, itemOf } from "./state.ts";

export const DURATION = 240;
const NETWORK = -1; // the group of everything, as an item
const MOST = 1200; // boxes that still move smoothly

export interface Motion {
  fromBoxes: Float64Array;
  fromFrames: Float64Array;
  began: number;
}

export const stillness = (): boolean => matchMedia("(prefers-reduced-motion: reduce)").matches;

/** Where everything of the new stage comes from; null where nothing should move. */
export function motion(state: State, before: Stage, after: Stage, now: number): Motion | null {
  if (stillness() || Math.max(before.view.boxes.length, after.view.boxes.length) > MOST) return null;
  const boxes = new Map<number, number>();
  const frames = new Map<number, number>();
  before.view.boxes.forEach((box, b) => boxes.set(itemOf(box), b));
  before.view.frames.forEach((frame, f) => frames.set(~frame.group, f));
  const parent = state.graph.groups.parent;
  const around = (item: number): number => (item >= 0 ? ~state.graph.nodes.group[item] : ~parent[~item]);
  const origin = (item: number): Float64Array | null => {
    for (let at = item; at !== NETWORK; at = around(at)) {
      const b = boxes.get(at);
      if (b !== undefined) return before.placed.boxes.subarray(4 * b, 4 * b + 4);
      const f = frames.get(at);
      if (f !== undefined) return before.placed.frames.subarray(4 * f, 4 * f + 4);
    }
    return null;
  };
  const from = (places: Float64Array, all: (Box | Frame)[]): Float64Array => {
    const found = places.slice();
    all.forEach((one, i) => {
      const place = origin("kind" in one ? itemOf(one) : ~one.group);
      if (place) found.set(place, 4 * i);
    });
    return found;
  };
  return {
    fromBoxes: from(after.placed.boxes, after.view.boxes),
    fromFrames: from(after.placed.frames, after.view.frames),
    began: now,
  };
}

/** From 0 to 1, slow at both ends. */
export function eased(motion: Motion, now: number): number {
  const t = Math.min(Math.max((now - motion.began) / DURATION, 0), 1);
  return t * t * (3 - 2 * t);
}

export function between(from: Float64Array, to: Float64Array, share: number): Float64Array {
  return from.map((v, i) => v + (to[i] - v) * share);
}
