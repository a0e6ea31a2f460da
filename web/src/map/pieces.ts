// A level taken apart into what is joined: each piece is arranged by itself, and all of them are put on shelves.

import { type Edge, Level } from "./level.ts";

/** A part of a level as a level of its own: which vertices and edges of the whole it holds, in their order. */
export interface Piece {
  level: Level;
  vertices: number[];
  edges: number[];
}

/** The pieces in the order of their first items; everything that ports lead to is one piece, and the first. */
export function pieces(level: Level): Piece[] {
  const { count, edges } = level;
  const near: number[][] = Array.from({ length: count }, () => []);
  for (const { source, target } of edges) {
    near[source].push(target);
    near[target].push(source);
  }
  level.steps += count + 2 * edges.length;
  const of: number[] = new Array(count).fill(-1);
  let found = 0;
  const ports: number[] = [];
  for (let v = 0; v < count; v++) if (v < level.entries || v >= level.end) ports.push(v);
  if (ports.length) spread(ports, found++, of, near);
  for (let v = level.entries; v < level.end; v++) if (of[v] < 0) spread([v], found++, of, near);
  if (found > 1) return copied(level, of, found);
  return found ? [{ level, vertices: of.map((_, v) => v), edges: edges.map((_, e) => e) }] : [];
}

/** Give a number to everything that can be reached. */
function spread(waiting: number[], piece: number, of: number[], near: number[][]): void {
  for (const v of waiting) of[v] = piece;
  while (waiting.length) {
    for (const u of near[waiting.pop()!]) {
      if (of[u] >= 0) continue;
      of[u] = piece;
      waiting.push(u);
    }
  }
}

function copied(level: Level, of: number[], found: number): Piece[] {
  const vertices: number[][] = Array.from({ length: found }, () => []);
  const edges: number[][] = Array.from({ length: found }, () => []);
  const local = of.map((piece, v) => vertices[piece].push(v) - 1);
  level.edges.forEach((edge, e) => edges[of[edge.source]].push(e));
  return vertices.map((held, k) => ({ level: part(level, held, edges[k], local, k === 0), vertices: held, edges: edges[k] }));
}

function part(level: Level, held: number[], chosen: number[], local: number[], first: boolean): Level {
  const own = chosen.map((e): Edge => {
    const edge = level.edges[e];
    return { ...edge, source: local[edge.source], target: local[edge.target], bends: [] };
  });
  const [width, height, anchor] = [level.width, level.height, level.anchor].map((column) => held.map((v) => column[v]));
  const [entries, exits] = first ? [level.entries, level.exits] : [0, 0];
  return new Level(entries, exits, width, height, anchor, held.map((v) => level.constant[v]), own);
}
