// Walking from box to box with the keyboard, along the wires and across them.

import type { Stage } from "./state.ts";

export type Way = "on" | "back" | "left" | "right";

/** Is a key more than what it writes?  On many keyboards [ and ] are only reached with AltGr, or Option on a Mac. */
export function modified(event: KeyboardEvent): boolean {
  if (event.getModifierState("AltGraph")) return false;
  return event.ctrlKey || event.metaKey || (event.altKey && !"[]/".includes(event.key));
}

/** The box to go to from a box, or -1 where there is none. */
export function step({ view, placed }: Stage, b: number, way: Way): number {
  if (b < 0) return view.boxes.length ? 0 : -1;
  if (way === "on" || way === "back") return along(view.wires, placed.boxes, b, way === "on");
  return beside(placed.boxes, view.boxes.length, b, way === "right", placed.direction === "down");
}

/** The consumer (or producer) whose middle is closest to straight on. */
function along(wires: Stage["view"]["wires"], boxes: Float64Array, b: number, on: boolean): number {
  let best = -1;
  let least = Infinity;
  for (const wire of wires) {
    if ((on ? wire.source : wire.target) !== b) continue;
    const other = on ? wire.target : wire.source;
    const apart = Math.abs(middle(boxes, other, 0) - middle(boxes, b, 0)) + Math.abs(middle(boxes, other, 1) - middle(boxes, b, 1));
    if (apart < least) [best, least] = [other, apart];
  }
  return best;
}

const middle = (boxes: Float64Array, b: number, axis: number): number => boxes[4 * b + axis] + boxes[4 * b + 2 + axis] / 2;

/** The nearest box at one side that shares part of the row. */
function beside(boxes: Float64Array, count: number, b: number, forth: boolean, down: boolean): number {
  const [axis, other] = down ? [0, 1] : [1, 0];
  let best = -1;
  let least = Infinity;
  for (let c = 0; c < count; c++) {
    const overlap =
      Math.min(boxes[4 * b + other] + boxes[4 * b + 2 + other], boxes[4 * c + other] + boxes[4 * c + 2 + other]) -
      Math.max(boxes[4 * b + other], boxes[4 * c + other]);
    const apart = (middle(boxes, c, axis) - middle(boxes, b, axis)) * (forth ? 1 : -1);
    if (c === b || overlap <= 0 || apart <= 0) continue;
    if (apart < least) [best, least] = [c, apart];
  }
  return best;
}
