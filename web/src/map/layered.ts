// The places of everything in a scene: our own layered layout, frame by frame from the inside out, in linear time.

import { align } from "./align.ts";
import { type Part, parts } from "./compound.ts";
import { lanes } from "./lanes.ts";
import { type Edge, Level, bend, rank } from "./level.ts";
import { order, ports } from "./order.ts";
import { type Piece, pieces } from "./pieces.ts";
import type { Frame, Scene } from "./scene.ts";
import { type Size, WIDE, spread } from "./shelves.ts";

export type Direction = "down" | "right";

const GAP = { down: 30, right: 44 }; // between ranks
const PORT_GAP = 14; // between the ports of a frame and what is next to them
export const FRAME_TITLE = 24; // room for the title of a frame
const PAD = 14;
const MARGIN = 24; // around the whole
const NEAR = 1e-6; // closer than this is the same place

/** A scene with places.  Rectangles are x, y, width, height, four numbers each, by their upper left corners. */
export interface Placed {
  direction: Direction;
  boxes: Float64Array;
  frames: Float64Array;
  corners: Float64Array; // x0, y0, x1, y1, ... of all wires, one wire after the other
  first: Uint32Array; // where the corners of a wire begin, in numbers; far wires have none
  width: number;
  height: number;
  steps: number;
}

/**
 * A frame that is arranged: its size as seen along and across the ranks, and its ports from its middle.
 * `x` and `y` are the middles of the vertices of its level.
 */
interface Inside {
  level: Level;
  x: number[];
  y: number[];
  across: number;
  along: number;
  anchor: number;
  entry: Map<number, number>;
  exit: Map<number, number>;
  routes: number[][];
}

/** Place a scene, from top to bottom ("down") or from left to right ("right"), pieces on shelves `wide` times as wide as high. */
export function layout(scene: Scene, direction: Direction = "down", wide = WIDE): Placed {
  const [divided, ways] = parts(scene);
  const inside: Inside[] = new Array(divided.length);
  for (let f = divided.length - 1; f >= 0; f--) inside[f] = arranged(scene, f, divided[f], inside, direction, wide);
  const [boxes, frames] = absolute(scene, divided, inside);
  const [corners, first] = joined(ways, inside, frames);
  let steps = scene.boxes.length;
  for (const one of inside) steps += one.level.steps;
  for (const way of ways) steps += way.length / 2;
  if (direction === "right") {
    turn(boxes);
    turn(frames);
    for (let k = 0; k < corners.length; k += 2) [corners[k], corners[k + 1]] = [corners[k + 1], corners[k]];
  }
  return { direction, boxes, frames, corners, first, width: frames[2], height: frames[3], steps };
}

function turn(rects: Float64Array): void {
  for (let k = 0; k < rects.length; k += 2) [rects[k], rects[k + 1]] = [rects[k + 1], rects[k]];
}

function arranged(scene: Scene, f: number, part: Part, inside: Inside[], direction: Direction, wide: number): Inside {
  const level = levelOf(scene, part, inside, direction);
  const held = pieces(level);
  const sizes = held.map((piece) => settled(piece.level, direction));
  level.steps += sizes.length;
  const { places, size } = spread(sizes, level.entries + level.exits > 0, direction === "down", wide);
  return framed(level, held, places, size, part, f ? scene.frames[f] : null, direction);
}

/** Arrange what is joined, from (0, 0) on; gives its size across and along. */
function settled(level: Level, direction: Direction): Size {
  if (level.count === 1 && level.end > level.entries) {
    level.rank = [0];
    level.x = [level.width[0] / 2];
    level.y = [level.height[0] / 2];
    level.steps += 1;
    return [level.width[0], level.height[0]];
  }
  rank(level);
  bend(level);
  order(level);
  ports(level);
  align(level);
  lanes(level);
  let low = Infinity;
  let high = -Infinity;
  for (let v = 0; v < level.x.length; v++) {
    low = Math.min(low, level.x[v] - level.width[v] / 2);
    high = Math.max(high, level.x[v] + level.width[v] / 2);
  }
  for (const edge of level.edges) if (edge.lane) high = Math.max(high, edge.across);
  for (let v = 0; v < level.x.length; v++) level.x[v] -= low;
  for (const edge of level.edges) edge.across -= low;
  return [high - low, rows(level, direction)];
}

function levelOf(scene: Scene, part: Part, inside: Inside[], direction: Direction): Level {
  const { items } = part;
  const entries = part.entries.size;
  const exits = part.exits.size;
  const across: number[] = new Array(entries).fill(0);
  const along: number[] = new Array(entries).fill(0);
  const anchor: number[] = new Array(entries).fill(0);
  const constant: boolean[] = new Array(entries).fill(false);
  for (const item of items) {
    const inner = item < 0 ? inside[~item] : null;
    const box = item < 0 ? null : scene.boxes[item];
    across.push(inner ? inner.across : direction === "down" ? box!.width : box!.height);
    along.push(inner ? inner.along : direction === "down" ? box!.height : box!.width);
    anchor.push(inner ? inner.anchor : 0);
    constant.push(box ? box.constant : false);
  }
  for (let k = 0; k < exits; k++) {
    across.push(0);
    along.push(0);
    anchor.push(0);
    constant.push(false);
  }
  const frameAt = (slot: number): Inside | null => (slot >= 0 && items[slot] < 0 ? inside[~items[slot]] : null);
  const edges: Edge[] = part.hops.map(({ source, target, key }) => {
    const from = frameAt(source);
    const into = frameAt(target);
    return {
      source: source < 0 ? part.entries.get(key)! : entries + source,
      target: target < 0 ? entries + items.length + part.exits.get(key)! : entries + target,
      start: from ? from.exit.get(key)! : 0,
      end: into ? into.entry.get(key)! : 0,
      given: target < 0 || into !== null,
      bends: [],
      lane: false,
      main: false,
      across: 0,
    };
  });
  return new Level(entries, exits, across, along, anchor, constant, edges);
}

/** Put every piece in its place, and a border around everything. */
function framed(level: Level, held: Piece[], places: Size[], size: Size, part: Part, frame: Frame | null, direction: Direction): Inside {
  const [before, after, left, right] = pads(frame, direction);
  const title = frame ? frame.width : 0;
  let across = size[0] + left + right;
  const spare = direction === "down" ? Math.max(title - across, 0) / 2 : 0;
  across += 2 * spare;
  let along = before + size[1] + after;
  if (direction === "right") along = Math.max(along, title);
  const x: number[] = new Array(level.count).fill(0);
  const y: number[] = new Array(level.count).fill(0);
  const routes: number[][] = new Array(level.edges.length);
  held.forEach((piece, p) => put({ level, x, y, routes }, piece, left + spare + places[p][0], before + places[p][1]));
  const middle = across / 2;
  const entry = new Map<number, number>();
  const exit = new Map<number, number>();
  for (const [key, k] of part.entries) entry.set(key, x[k] - middle);
  for (const [key, k] of part.exits) exit.set(key, x[level.end + k] - middle);
  const anchor = latest(entry.size ? entry : exit);
  return { level, x, y, across, along, anchor, entry, exit, routes };
}

/** Move a piece to its place, and find the ways of its edges there. */
function put({ level, x, y, routes }: Pick<Inside, "level" | "x" | "y" | "routes">, piece: Piece, dx: number, dy: number): void {
  const own = piece.level;
  piece.vertices.forEach((v, k) => {
    x[v] = own.x[k] + dx;
    y[v] = own.y[k] + dy;
  });
  piece.edges.forEach((e, k) => {
    const found = route(own, own.edges[k]);
    for (let i = 0; i < found.length; i += 2) {
      found[i] += dx;
      found[i + 1] += dy;
    }
    routes[e] = found;
  });
  if (own !== level) level.steps += own.steps;
}

/** The port of the box that runs last. */
function latest(ports: Map<number, number>): number {
  let best = -1;
  for (const key of ports.keys()) if (key > best) best = key;
  return ports.get(best) ?? 0;
}

/** Room in a frame before the first row, after the last, and at both sides. */
function pads(frame: Frame | null, direction: Direction): [number, number, number, number] {
  if (!frame) return [MARGIN, MARGIN, MARGIN, MARGIN];
  return direction === "down" ? [FRAME_TITLE + PAD / 2, PAD, PAD, PAD] : [PAD, PAD, FRAME_TITLE + PAD / 2, PAD];
}

/** The y of every vertex; gives the lower end of the last row. */
function rows(level: Level, direction: Direction): number {
  level.y = new Array<number>(level.rank.length).fill(0);
  let at = 0;
  const last = level.rows.length - 1;
  level.rows.forEach((row, r) => {
    if (r) at += (r === 1 && level.entries) || (r === last && level.exits) ? PORT_GAP : GAP[direction];
    let tall = 0;
    for (const v of row) if (level.height[v] > tall) tall = level.height[v];
    level.top.push(at);
    level.bottom.push(at + tall);
    for (const v of row) level.y[v] = at + tall / 2;
    at += tall;
  });
  return at;
}

/** The corners of an edge: straight down beside boxes, sideways only in the gaps between rows. */
function route(level: Level, edge: Edge): number[] {
  const { source: u, target: v } = edge;
  const { top, bottom } = level;
  const begin = level.x[u] + edge.start;
  const end = level.x[v] + edge.end;
  const first = level.rank[u];
  const last = level.rank[v];
  const found = [begin, level.y[u] + level.height[u] / 2, begin, bottom[first]];
  if (edge.lane) found.push(edge.across, top[first + 1], edge.across, bottom[last - 1]);
  for (const w of edge.bends) found.push(level.x[w], top[level.rank[w]], level.x[w], bottom[level.rank[w]]);
  found.push(end, top[last], end, level.y[v] - level.height[v] / 2);
  return found;
}

function absolute(scene: Scene, divided: Part[], inside: Inside[]): [Float64Array, Float64Array] {
  const boxes = new Float64Array(4 * scene.boxes.length);
  const frames = new Float64Array(4 * scene.frames.length);
  frames.set([0, 0, inside[0].across, inside[0].along]);
  divided.forEach((part, f) => {
    const { level, x, y } = inside[f];
    part.items.forEach((item, slot) => {
      const v = level.entries + slot;
      const into = item < 0 ? frames : boxes;
      const at = 4 * (item < 0 ? ~item : item);
      into[at] = frames[4 * f] + x[v] - level.width[v] / 2;
      into[at + 1] = frames[4 * f + 1] + y[v] - level.height[v] / 2;
      into[at + 2] = level.width[v];
      into[at + 3] = level.height[v];
    });
  });
  return [boxes, frames];
}

/** The corners of every wire through all its frames, without those that lie on a straight line. */
function joined(ways: number[][], inside: Inside[], frames: Float64Array): [Float64Array, Uint32Array] {
  const first = new Uint32Array(ways.length + 1);
  const all: number[] = [];
  ways.forEach((way, w) => {
    const from = all.length;
    for (let h = 0; h < way.length; h += 2) {
      const points = inside[way[h]].routes[way[h + 1]];
      for (let k = 0; k < points.length; k += 2) {
        const end = all.length;
        let x = frames[4 * way[h]] + points[k];
        const y = frames[4 * way[h] + 1] + points[k + 1];
        if (end > from && Math.abs(x - all[end - 2]) < NEAR) x = all[end - 2];
        if (end > from && x === all[end - 2] && Math.abs(y - all[end - 1]) < NEAR) continue;
        if (end - from > 3 && x === all[end - 2] && x === all[end - 4]) all[end - 1] = y;
        else all.push(x, y);
      }
    }
    first[w + 1] = all.length;
  });
  return [Float64Array.from(all), first];
}
