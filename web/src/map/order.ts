// The order of the vertices in each row: barycenters, swept down and up; then where edges enter each box.

import { type Level, type Links, links } from "./level.ts";

const SWEEPS = 4;
const APART = 14; // the distance of edges that enter one box,
const EDGE = 10; // and of the outermost from its corner

/** Put the vertices of each row where their neighbors are. */
export function order(level: Level): void {
  const above = links(level, true);
  const below = links(level, false);
  const wish = new Float64Array(level.rank.length);
  for (let sweep = 0; sweep < SWEEPS; sweep++) {
    const down = sweep % 2 === 0;
    const rows = level.rows.length;
    for (let r = 0; r < rows; r++) {
      const row = level.rows[down ? r : rows - 1 - r];
      if (row.length > 1) sort(level, row, down ? above : below, wish);
      level.steps += row.length;
    }
  }
}

function sort(level: Level, row: number[], near: Links, wish: Float64Array): void {
  const { place, width } = level;
  for (const v of row) {
    let total = 0;
    const begin = near.first[v];
    const end = near.first[v + 1];
    for (let k = begin; k < end; k++) {
      const u = near.other[k];
      total += place[u] + near.shift[k] / (width[u] + width[v]);
    }
    wish[v] = end > begin ? total / (end - begin) : place[v];
    level.steps += end - begin;
  }
  row.sort((a, b) => wish[a] - wish[b] || place[a] - place[b]);
  for (let i = 0; i < row.length; i++) place[row[i]] = i;
}

/** Edges enter a box side by side in the order in which they come; the main one enters amid. */
export function ports(level: Level): void {
  const entering = new Map<number, number[]>();
  level.edges.forEach((edge, e) => {
    const known = entering.get(edge.target);
    if (known) known.push(e);
    else entering.set(edge.target, [e]);
  });
  for (const [v, found] of entering) {
    if (found.length > 1) {
      found.sort((a, b) => {
        const one = level.edges[a];
        const other = level.edges[b];
        return +one.lane - +other.lane || level.place[last(level, a)] - level.place[last(level, b)] || a - b;
      });
    }
    const main = mainOf(level, found);
    if (main >= 0) level.edges[found[main]].main = true;
    const amid = main >= 0 ? main : (found.length - 1) >> 1;
    const step = Math.min(APART, (level.width[v] / 2 - EDGE) / Math.max(amid, found.length - 1 - amid, 1));
    for (let i = 0; i < found.length; i++) {
      const edge = level.edges[found[i]];
      if (!edge.given) edge.end = (i - amid) * step;
    }
  }
}

/** The vertex from which an edge comes into the row of its target. */
function last(level: Level, e: number): number {
  const edge = level.edges[e];
  return edge.bends.length ? edge.bends[edge.bends.length - 1] : edge.source;
}

/** The middle one of those that come from the row above, -1 for none; of two the larger item, or the later one. */
function mainOf(level: Level, found: number[]): number {
  const near: number[] = [];
  for (let i = 0; i < found.length; i++) {
    const edge = level.edges[found[i]];
    if (!edge.bends.length && !edge.lane) near.push(i);
  }
  if (!near.length) return -1;
  const left = near[(near.length - 1) >> 1];
  const right = near[near.length >> 1];
  const a = level.edges[found[left]].source;
  const b = level.edges[found[right]].source;
  const larger = level.height[a] - level.height[b] || a - b;
  return larger > 0 ? left : right;
}
