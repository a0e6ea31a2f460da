// Columns: chains of vertices one below the other, made exactly straight where their rows have room for it.

import type { Level } from "./level.ts";

const ROUNDS = 2; // the second finds the room that the first one made

/** Move whole columns to one x; then the ports of a frame to where their wires come from or go to. */
export function straighten(level: Level): void {
  const [above, shift] = columns(level);
  const below = new Int32Array(above.length).fill(-1);
  above.forEach((u, v) => {
    if (u >= 0) below[u] = v;
  });
  for (let round = 0; round < ROUNDS; round++) {
    for (const row of level.rows) {
      for (const v of row) if (above[v] < 0 && below[v] >= 0) straight(level, v, below, shift);
    }
    level.steps += 2 * above.length;
  }
  for (const edge of level.edges) {
    if (edge.bends.length || edge.lane) continue;
    if (edge.source < level.entries && below[edge.source] < 0) {
      move(level, edge.source, level.x[edge.target] + edge.end);
    } else if (edge.target >= level.end && above[edge.target] < 0) {
      move(level, edge.target, level.x[edge.source] + edge.start);
    }
  }
  if (level.entries && level.exits && below[level.entries - 1] < 0) {
    move(level, level.entries - 1, level.x[level.x.length - level.exits]);
  }
}

/** For each vertex the one that stands straight above it, if any, and how far beside its x that is. */
function columns(level: Level): [Int32Array, Float64Array] {
  const above = new Int32Array(level.rank.length).fill(-1);
  const shift = new Float64Array(level.rank.length);
  const leaving = new Map<number, number[]>();
  level.edges.forEach((edge, e) => {
    for (let i = 1; i < edge.bends.length; i++) above[edge.bends[i]] = edge.bends[i - 1];
    if (edge.bends.length || edge.lane) return;
    const known = leaving.get(edge.source);
    if (known) known.push(e);
    else leaving.set(edge.source, [e]);
  });
  for (const found of leaving.values()) {
    found.sort((a, b) => level.place[level.edges[a].target] - level.place[level.edges[b].target] || a - b);
    const edge = level.edges[found[(found.length - 1) >> 1]];
    if (!edge.main) continue;
    above[edge.target] = edge.source;
    shift[edge.target] = level.anchor[edge.source] - level.anchor[edge.target];
  }
  return [above, shift];
}

/** Move a column, in as few straight pieces as the rows allow. */
function straight(level: Level, head: number, below: Int32Array, shift: Float64Array): void {
  let piece: number[] = [];
  let beside: number[] = [];
  let low = -Infinity;
  let high = Infinity;
  let total = 0;
  let side = 0;
  const put = (): void => {
    const x = Math.min(Math.max(total / piece.length, low), high);
    piece.forEach((v, i) => (level.x[v] = x + beside[i]));
  };
  for (let v = head; v >= 0; v = below[v]) {
    side += v !== head ? shift[v] : 0;
    const [least, most] = room(level, v);
    if (Math.max(low, least - side) > Math.min(high, most - side)) {
      put();
      piece = [];
      beside = [];
      low = -Infinity;
      high = Infinity;
      total = side = 0;
    }
    low = Math.max(low, least - side);
    high = Math.min(high, most - side);
    total += level.x[v] - side;
    piece.push(v);
    beside.push(side);
  }
  put();
}

/** How far a vertex can go to both sides before it touches its neighbors; at least where it is. */
function room(level: Level, v: number): [number, number] {
  const { x, width, margin } = level;
  const row = level.rows[level.rank[v]];
  const at = level.place[v];
  let low = -Infinity;
  let high = Infinity;
  if (at > 0) {
    const u = row[at - 1];
    low = Math.min(x[v], x[u] + (width[u] + width[v]) / 2 + margin[u] + margin[v]);
  }
  if (at + 1 < row.length) {
    const u = row[at + 1];
    high = Math.max(x[v], x[u] - (width[u] + width[v]) / 2 - margin[u] - margin[v]);
  }
  return [low, high];
}

function move(level: Level, v: number, to: number): void {
  const [low, high] = room(level, v);
  level.x[v] = Math.min(Math.max(to, low), high);
}
