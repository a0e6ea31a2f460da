// One level of a layout: the items of one frame, the ports in its borders, their ranks, and places for long edges.
// Vertices are numbered: first the ports where edges enter, then the items in order of running, then the ports where
// they leave, then a bend for each rank that an edge passes.  Everything runs down here.

const LONGEST_CHAIN = 16; // an edge over more ranks runs in a lane at the side instead of through every rank
const BEND = 2;
const BOX_MARGIN = 10;
const BEND_MARGIN = 5;
const DIRECT = 4; // how straight an edge wants to be: between items,
const AROUND = 1; // at its ends,
const ALONG = 8; // on its way

export interface Edge {
  source: number;
  target: number;
  start: number; // distance of its port from the middle of the vertex
  end: number;
  given: boolean; // is `end` given, by the port of a frame?
  bends: number[];
  lane: boolean;
  main: boolean; // of those that come from the row above, the one that its target should stand under
  across: number; // where its lane runs
}

export class Level {
  rank: number[] = [];
  rows: number[][] = [];
  margin: number[] = [];
  place: number[] = []; // position in the row
  x: number[] = [];
  y: number[] = [];
  top: number[] = []; // of each row
  bottom: number[] = [];
  steps = 0; // elementary steps taken, for the test that time is linear

  constructor(
    readonly entries: number,
    readonly exits: number,
    readonly width: number[],
    readonly height: number[],
    readonly anchor: number[], // what stands straight below each other: the middle of a box, the main entry of a frame
    readonly constant: boolean[], // items that nothing flows into and that stay with their consumer
    readonly edges: Edge[],
  ) {}

  get count(): number {
    return this.constant.length;
  }

  /** The first vertex after the items. */
  get end(): number {
    return this.constant.length - this.exits;
  }
}

/** For each vertex its neighbors in the row above (or below): which, how strongly, and the shift that is straight. */
export interface Links {
  first: Int32Array;
  other: Int32Array;
  weight: Float64Array;
  shift: Float64Array;
}

/** Longest-path ranks; what depends on constants only comes as late as it can. */
export function rank(level: Level): void {
  const { count, end, edges } = level;
  const into: number[][] = Array.from({ length: count }, () => []);
  const out: number[][] = Array.from({ length: count }, () => []);
  for (const edge of edges) {
    into[edge.target].push(edge.source);
    out[edge.source].push(edge.target);
  }
  const ranks: number[] = new Array(count).fill(0);
  const floating = level.constant.slice();
  const first = level.entries ? 1 : 0;
  for (let v = level.entries; v < end; v++) {
    ranks[v] = first;
    let all = true;
    for (const u of into[v]) {
      if (ranks[v] < ranks[u] + 1) ranks[v] = ranks[u] + 1;
      all = all && floating[u];
    }
    if (into[v].length) floating[v] = all;
  }
  let last = 0;
  for (let v = level.entries; v < end; v++) if (ranks[v] > last) last = ranks[v];
  for (let v = end; v < count; v++) ranks[v] = last + 1;
  for (let v = end - 1; v >= level.entries; v--) {
    if (!out[v].length || (!floating[v] && into[v].length)) continue;
    let least = Infinity;
    for (const w of out[v]) if (ranks[w] < least) least = ranks[w];
    ranks[v] = least - 1;
  }
  level.rank = ranks;
  level.steps += count + 2 * edges.length;
}

/** Give every edge that passes ranks its bends, or a lane when it passes many; and fill the rows. */
export function bend(level: Level): void {
  const { count, rank: ranks } = level;
  for (const edge of level.edges) {
    edge.lane = ranks[edge.target] - ranks[edge.source] > LONGEST_CHAIN;
    if (edge.lane) continue;
    const end = ranks[edge.target];
    for (let r = ranks[edge.source] + 1; r < end; r++) {
      edge.bends.push(ranks.length);
      ranks.push(r);
    }
  }
  let most = -1;
  for (let v = 0; v < ranks.length; v++) {
    if (ranks[v] > most) most = ranks[v];
    const item = v >= level.entries && v < level.end;
    level.margin.push(item ? BOX_MARGIN : BEND_MARGIN);
    if (v < count) continue;
    level.width.push(BEND);
    level.height.push(0);
    level.anchor.push(0);
  }
  level.rows = Array.from({ length: most + 1 }, () => []);
  level.place = ranks.map((r, v) => level.rows[r].push(v) - 1);
  level.steps += ranks.length;
}

/** The neighbors in the row above (`down`: as seen going down), or in the row below. */
export function links(level: Level, down: boolean): Links {
  const here: number[] = [];
  const there: number[] = [];
  const weight: number[] = [];
  const shift: number[] = [];
  for (const edge of level.edges) {
    if (edge.lane) continue;
    const last = edge.bends.length;
    for (let i = 0; i <= last; i++) {
      const u = i === 0 ? edge.source : edge.bends[i - 1];
      const v = i === last ? edge.target : edge.bends[i];
      const start = i === 0 ? shiftAt(level, edge, true) : 0;
      const end = i === last ? shiftAt(level, edge, false) : 0;
      here.push(down ? v : u);
      there.push(down ? u : v);
      weight.push(edge.main ? DIRECT : i > 0 && i < last ? ALONG : AROUND);
      shift.push(down ? start - end : end - start);
    }
  }
  level.steps += here.length;
  return grouped(level.rank.length, here, there, weight, shift);
}

/** Where an edge should meet its vertex, from the middle: its port, or the anchor where it is the main edge. */
function shiftAt(level: Level, edge: Edge, leaving: boolean): number {
  if (edge.main) return level.anchor[leaving ? edge.source : edge.target];
  return leaving ? edge.start : edge.end;
}

function grouped(count: number, here: number[], there: number[], weight: number[], shift: number[]): Links {
  const first = new Int32Array(count + 1);
  for (const v of here) first[v + 1] += 1;
  for (let v = 0; v < count; v++) first[v + 1] += first[v];
  const at = first.slice();
  const size = here.length;
  const found = { first, other: new Int32Array(size), weight: new Float64Array(size), shift: new Float64Array(size) };
  for (let k = 0; k < size; k++) {
    const to = at[here[k]]++;
    found.other[to] = there[k];
    found.weight[to] = weight[k];
    found.shift[to] = shift[k];
  }
  return found;
}
