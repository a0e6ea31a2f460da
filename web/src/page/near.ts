// Which boxes, frames and wires are near a place: stripes across the longer side of the map.

import type { Stage } from "./state.ts";

const EACH = 8; // boxes in a stripe, about
const LONG = 24; // what touches more stripes than this is looked at always

export class Near {
  private readonly along: 0 | 1;
  private readonly step: number;
  private readonly boxes: number[][];
  private readonly wires: number[][];
  private readonly longWires: number[] = [];
  private readonly frames: number[][];
  private readonly longFrames: number[] = [];
  readonly depth: Int32Array; // of each frame
  readonly far: number[] = []; // wires that are named rather than drawn

  constructor(private readonly stage: Stage) {
    const { placed } = stage;
    this.along = placed.height >= placed.width ? 1 : 0;
    const count = Math.max(1, Math.ceil(stage.view.boxes.length / EACH));
    this.step = Math.max(this.along ? placed.height : placed.width, 1) / count;
    this.boxes = Array.from({ length: count + 1 }, () => []);
    this.wires = Array.from({ length: count + 1 }, () => []);
    for (let b = 0; b < stage.view.boxes.length; b++) {
      const at = placed.boxes[4 * b + this.along];
      this.put(this.boxes, null, b, at, at + placed.boxes[4 * b + 2 + this.along]);
    }
    for (let w = 0; w < stage.view.wires.length; w++) {
      const [from, to] = [placed.first[w], placed.first[w + 1]];
      if (to > from) this.put(this.wires, this.longWires, w, ...this.span(from, to));
      if (stage.view.wires[w].far) this.far.push(w);
    }
    this.frames = Array.from({ length: count + 1 }, () => []);
    this.depth = new Int32Array(stage.view.frames.length);
    for (let f = 1; f < stage.view.frames.length; f++) {
      const at = placed.frames[4 * f + this.along];
      this.depth[f] = this.depth[stage.view.frames[f].parent] + 1;
      this.put(this.frames, this.longFrames, f, at, at + placed.frames[4 * f + 2 + this.along]);
    }
  }

  private span(from: number, to: number): [number, number] {
    const { corners } = this.stage.placed;
    let [low, high] = [Infinity, -Infinity];
    for (let k = from + this.along; k < to; k += 2) {
      low = Math.min(low, corners[k]);
      high = Math.max(high, corners[k]);
    }
    return [low, high];
  }

  private put(into: number[][], long: number[] | null, what: number, low: number, high: number): void {
    const [first, last] = [this.stripe(low), this.stripe(high)];
    if (long && last - first > LONG) long.push(what);
    else for (let s = first; s <= last; s++) into[s].push(what);
  }

  private stripe(at: number): number {
    return Math.min(Math.max(Math.floor(at / this.step), 0), this.boxes.length - 1);
  }

  /** Boxes that touch a rectangle, each once. */
  boxesIn(x0: number, y0: number, x1: number, y1: number): number[] {
    const { boxes } = this.stage.placed;
    const within = (b: number): boolean =>
      boxes[4 * b] <= x1 && boxes[4 * b] + boxes[4 * b + 2] >= x0 && boxes[4 * b + 1] <= y1 && boxes[4 * b + 1] + boxes[4 * b + 3] >= y0;
    return this.found(this.boxes, x0, y0, x1, y1).filter(within);
  }

  /** Wires that may touch a rectangle. */
  wiresIn(x0: number, y0: number, x1: number, y1: number): number[] {
    return this.found(this.wires, x0, y0, x1, y1).concat(this.longWires);
  }

  /** Frames that may touch a rectangle, the outer ones first. */
  framesIn(x0: number, y0: number, x1: number, y1: number): number[] {
    return this.found(this.frames, x0, y0, x1, y1).concat(this.longFrames).sort((a, b) => a - b);
  }

  private found(stripes: number[][], x0: number, y0: number, x1: number, y1: number): number[] {
    const first = this.stripe(this.along ? y0 : x0);
    const last = this.stripe(this.along ? y1 : x1);
    if (first === last) return stripes[first];
    const seen = new Set<number>();
    for (let s = first; s <= last; s++) for (const what of stripes[s]) seen.add(what);
    return [...seen];
  }

  /** The box at a place, or -1. */
  boxAt(x: number, y: number): number {
    return this.boxesIn(x, y, x, y)[0] ?? -1;
  }

  /** The innermost frame whose title is at a place, or -1; frame 0 has none. */
  titleAt(x: number, y: number, height: number): number {
    const { frames } = this.stage.placed;
    for (const f of this.framesIn(x, y, x, y).reverse()) {
      const [left, top, width] = frames.subarray(4 * f, 4 * f + 3);
      if (x >= left && x <= left + width && y >= top && y <= top + height) return f;
    }
    return -1;
  }
}
