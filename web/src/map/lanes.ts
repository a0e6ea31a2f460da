// Lanes: where edges over many ranks run, straight, to the right of everything that they pass.

import type { Level } from "./level.ts";

const LANE = 10; // the distance of lanes

/** How far to the right each row reaches: the largest of a stretch, and raising a stretch, in logarithmic time. */
class Skyline {
  readonly size: number;
  private readonly largest: Float64Array;
  private readonly raised: Float64Array;

  constructor(reach: number[]) {
    let size = 1;
    while (size < reach.length) size *= 2;
    this.size = size;
    this.largest = new Float64Array(2 * size).fill(-Infinity);
    this.raised = new Float64Array(2 * size).fill(-Infinity);
    this.largest.set(reach, size);
    for (let k = size - 1; k > 0; k--) this.largest[k] = Math.max(this.largest[2 * k], this.largest[2 * k + 1]);
  }

  /** The largest reach of rows `first` up to `end`. */
  over(first: number, end: number, k = 1, low = 0, high = this.size): number {
    if (end <= low || high <= first) return -Infinity;
    if (first <= low && high <= end) return this.largest[k];
    const middle = (low + high) >> 1;
    const left = this.over(first, end, 2 * k, low, middle);
    return Math.max(left, this.over(first, end, 2 * k + 1, middle, high), this.raised[k]);
  }

  /** Rows `first` up to `end` reach at least `to`. */
  lift(first: number, end: number, to: number, k = 1, low = 0, high = this.size): void {
    if (end <= low || high <= first) return;
    this.largest[k] = Math.max(this.largest[k], to);
    if (first <= low && high <= end) {
      this.raised[k] = Math.max(this.raised[k], to);
      return;
    }
    const middle = (low + high) >> 1;
    this.lift(first, end, to, 2 * k, low, middle);
    this.lift(first, end, to, 2 * k + 1, middle, high);
  }
}

/** Give each lane its place, the shortest the innermost. */
export function lanes(level: Level): void {
  const { rank, edges } = level;
  const chosen = edges.filter((edge) => edge.lane);
  if (!chosen.length) return;
  const reach = level.rows.map((row) => {
    const last = row[row.length - 1]; // no row is empty: ranks are lengths of paths
    return level.x[last] + level.width[last] / 2 + level.margin[last];
  });
  const sky = new Skyline(reach);
  const span = (edge: (typeof chosen)[number]): number => rank[edge.target] - rank[edge.source];
  chosen.sort((a, b) => span(a) - span(b) || rank[a.source] - rank[b.source]);
  for (const edge of chosen) {
    const first = rank[edge.source] + 1;
    edge.across = sky.over(first, rank[edge.target]);
    sky.lift(first, rank[edge.target], edge.across + LANE);
    level.steps += 4 * (32 - Math.clz32(sky.size));
  }
}
