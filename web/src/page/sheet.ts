// A long map as columns side by side, as in a newspaper, so that the whole of it is seen at once and can be read.
// It is cut where no box is, rather between outer frames than inside of inner ones; wires and frames go on at the top
// of the next column.  The map has places of its own; the sheet has those of the columns.

import type { Placed } from "../map/layered.ts";
import type { Place } from "./camera.ts";
import type { Stage } from "./state.ts";

const GAP = 4; // between columns, beside the margins of the map itself
const HEAD = 26; // above a column, for the names of the frames that go on in it
const SHORTEST = 420; // of a column
const MOST = 160; // columns
const FRAME_COST = 0.06; // of the height of a column, for each frame that is cut

export class Sheet {
  private constructor(
    readonly down: boolean,
    readonly ends: number[], // where the columns begin, along the map, and the end of the last
    readonly across: number, // of the map: the width of a column
  ) {}

  /** In as many columns as make the map largest on a screen; in one where `folded` is false. */
  static of(stage: Stage, width: number, height: number, folded: boolean): Sheet {
    const { placed } = stage;
    const down = placed.direction === "down";
    const [across, along] = down ? [placed.width, placed.height] : [placed.height, placed.width];
    const [wide, tall] = down ? [width, height] : [height, width];
    let best = 1;
    let largest = 0;
    for (let count = 1; folded && count <= MOST && (count === 1 || along / count >= SHORTEST); count++) {
      const scale = Math.min(wide / (count * (across + GAP)), tall / ((along / count) * 1.08 + HEAD), 1);
      if (scale > largest * 1.04) [best, largest] = [count, scale];
    }
    return new Sheet(down, best > 1 ? [0, ...cuts(stage, best, down, along), along] : [0, along], across);
  }

  get count(): number {
    return this.ends.length - 1;
  }

  private get head(): number {
    return this.count > 1 ? HEAD : 0;
  }

  get width(): number {
    return this.down ? this.count * (this.across + GAP) - GAP : this.longest;
  }

  get height(): number {
    return this.down ? this.longest : this.count * (this.across + GAP) - GAP;
  }

  private get longest(): number {
    let most = 0;
    for (let c = 0; c < this.count; c++) most = Math.max(most, this.ends[c + 1] - this.ends[c]);
    return most + this.head;
  }

  /** How far a column is moved from its place on the map. */
  offset(c: number): Place {
    const along = this.head - this.ends[c];
    const across = c * (this.across + GAP);
    return this.down ? { x: across, y: along } : { x: along, y: across };
  }

  /** The part of the map that is in a column: x, y, width, height. */
  part(c: number): [number, number, number, number] {
    const [start, long] = [this.ends[c], this.ends[c + 1] - this.ends[c]];
    return this.down ? [0, start, this.across, long] : [start, 0, long, this.across];
  }

  columnOf(along: number): number {
    let [low, high] = [0, this.count - 1];
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.ends[middle] <= along) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  toSheet(x: number, y: number): Place {
    const by = this.offset(this.columnOf(this.down ? y : x));
    return { x: x + by.x, y: y + by.y };
  }

  toMap({ x, y }: Place): Place {
    const c = Math.min(Math.max(Math.floor((this.down ? x : y) / (this.across + GAP)), 0), this.count - 1);
    const by = this.offset(c);
    return { x: x - by.x, y: y - by.y };
  }

  /** Rectangles of the map as rectangles of the sheet; none of them may be cut. */
  placesOf(rects: Float64Array): Float64Array {
    const found = rects.slice();
    for (let k = 0; k < rects.length; k += 4) {
      const { x, y } = this.toSheet(rects[k], rects[k + 1]);
      found[k] = x;
      found[k + 1] = y;
    }
    return found;
  }

  /** What surrounds a rectangle of the map on the sheet, whatever columns it goes through. */
  around(rect: Float64Array): [number, number, number, number] {
    const [x, y, width, height] = rect;
    const first = this.columnOf(this.down ? y : x);
    const last = this.columnOf(this.down ? y + height : x + width);
    if (first === last) {
      const place = this.toSheet(x, y);
      return [place.x, place.y, width, height];
    }
    const from = first * (this.across + GAP);
    const size = last * (this.across + GAP) + this.across - from;
    return this.down ? [from, 0, size, this.height] : [0, from, this.width, size];
  }
}

/** Where to cut: in gaps between boxes, near equal shares. */
function cuts({ view, placed }: Stage, count: number, down: boolean, along: number): number[] {
  const gaps = free(placed, view.boxes.length, view.frames.length, down);
  const frames = view.frames.slice(1).map((_, f) => {
    const start = placed.frames[4 * (f + 1) + (down ? 1 : 0)];
    return [start, start + placed.frames[4 * (f + 1) + (down ? 3 : 2)]];
  });
  const cost = crossed(frames, gaps);
  const share = along / count;
  const found: number[] = [];
  let from = 0;
  for (let c = 1; c < count; c++) {
    const aim = c * share;
    let best = -1;
    let least = Infinity;
    while (from < gaps.length && gaps[from] < aim - 0.4 * share) from++;
    for (let g = from; g < gaps.length && gaps[g] < aim + 0.4 * share; g++) {
      const bad = Math.abs(gaps[g] - aim) + cost[g] * FRAME_COST * share;
      if (bad < least) [best, least] = [g, bad];
    }
    if (best >= 0 && gaps[best] > (found[found.length - 1] ?? 0)) found.push(gaps[best]);
  }
  return found;
}

/** The middles of all gaps along the map in which there is no box and no title. */
function free(placed: Placed, boxes: number, frames: number, down: boolean): number[] {
  const axis = down ? 1 : 0;
  const spans: [number, number][] = [];
  for (let b = 0; b < boxes; b++) {
    const start = placed.boxes[4 * b + axis];
    spans.push([start - 10, start + placed.boxes[4 * b + 2 + axis] + 8]);
  }
  for (let f = 1; f < frames; f++) {
    const start = placed.frames[4 * f + axis];
    spans.push([start - 3, start + (down ? 60 : 120)]);
  }
  spans.sort((a, b) => a[0] - b[0]);
  const found: number[] = [];
  let reached = 0;
  for (const [start, end] of spans) {
    if (start > reached && reached > 0) found.push((reached + start) / 2);
    if (end > reached) reached = end;
  }
  return found;
}

/** How many frames go through each of some rising places. */
function crossed(frames: number[][], places: number[]): Int32Array {
  const starts = frames.map(([start]) => start).sort((a, b) => a - b);
  const ends = frames.map(([, end]) => end).sort((a, b) => a - b);
  const found = new Int32Array(places.length);
  let [s, e] = [0, 0];
  places.forEach((at, i) => {
    while (s < starts.length && starts[s] < at) s++;
    while (e < ends.length && ends[e] < at) e++;
    found[i] = s - e;
  });
  return found;
}
