// The hierarchy of a graph made ready for scenes: what each group holds in order of running, and what repeats.
// An item is an operation i, written i, or a group g, written ~g.

import { type Graph, depths, flowing, isStretch } from "./graph.ts";

const TOGETHER = 4; // inputs or outputs in a row that share a card
const SIDE_BY_SIDE = 8; // that many alike groups which do not follow each other (experts) are folded too

export interface Outline {
  graph: Graph;
  items: number[][];
  size: Int32Array;
  leader: Int32Array;
  run: Map<number, number[]>;
  together: Int32Array; // how many inputs or outputs share the card of an operation, 0 for all but the first of them
  order: Int32Array; // edges by source
  start: Int32Array; // the items, one level below their common group, in which an edge begins and ends
  end: Int32Array;
}

export function outline(graph: Graph): Outline {
  const [items, size] = itemsOf(graph);
  const [start, end] = endsOf(graph);
  const { source, target } = graph.edges;
  const order = Int32Array.from(source.keys());
  order.sort((a, b) => source[a] - source[b] || target[a] - target[b]);
  const [leader, run] = runs(graph, items, size, followed(graph, items, start, end));
  return { graph, items, size, leader, run, together: together(graph, items), order, start, end };
}

/** All operations of a group, in the order in which its items hold them. */
export function inside(tree: Outline, group: number): number[] {
  const found: number[] = [];
  const waiting = [~group];
  while (waiting.length) {
    const item = waiting.pop()!;
    if (item >= 0) found.push(item);
    else {
      const items = tree.items[~item];
      for (let i = items.length - 1; i >= 0; i--) waiting.push(items[i]);
    }
  }
  return found;
}

/** The family of a group that is one layer, by its class, in however many operations it is written. */
export function layer(tree: Outline, group: number): string | undefined {
  const alone = tree.items[group].every((item) => item >= 0) && !isStretch(tree.graph, group);
  return alone ? tree.graph.kinds?.[tree.graph.groups.kind[group]] : undefined;
}

/** Is it a stretch of a long list that nothing repeats? */
export const merelyCut = (tree: Outline, group: number): boolean => isStretch(tree.graph, group) && !tree.run.has(group);

/** Is there more than one thing to see inside? */
export function opens(tree: Outline, group: number): boolean {
  return tree.size[group] > 1 || (!tree.graph.nodes.op.length && tree.items[group].length > 0);
}

function itemsOf(graph: Graph): [number[][], Int32Array] {
  const parent = graph.groups.parent;
  const items: number[][] = parent.map(() => []);
  const seen = new Uint8Array(parent.length);
  const group = graph.nodes.group;
  for (let node = 0; node < group.length; node++) {
    items[group[node]].push(node);
    for (let inner = group[node]; inner > 0 && !seen[inner]; inner = parent[inner]) {
      seen[inner] = 1;
      items[parent[inner]].push(~inner);
    }
  }
  if (!group.length) for (let g = 1; g < parent.length; g++) items[parent[g]].push(~g);
  const size = new Int32Array(parent.length);
  for (const g of group) size[g] += 1;
  for (let g = parent.length - 1; g > 0; g--) size[parent[g]] += size[g];
  inOrder(items, flowing(graph));
  return [items, size];
}

/** Put items in order of their first operation; that of a group is the first that is no constant, if there is one:
 *  constants may be made long before what they are read by. */
function inOrder(items: number[][], flows: boolean[]): void {
  const first = new Int32Array(items.length).fill(-1);
  const fixed = new Uint8Array(items.length).fill(1); // holds nothing but constants
  const begins = (item: number): number => (item >= 0 ? item : first[~item]);
  for (let g = items.length - 1; g >= 0; g--) {
    const listed = items[g];
    listed.sort((a, b) => begins(a) - begins(b));
    const told = listed.find((item) => (item >= 0 ? flows[item] : !fixed[~item]));
    fixed[g] = told === undefined ? 1 : 0;
    first[g] = listed.length ? begins(told ?? listed[0]) : -1;
  }
}

function together(graph: Graph, items: number[][]): Int32Array {
  const { op, family } = graph.nodes;
  const found = new Int32Array(op.length).fill(1);
  for (const listed of items) {
    for (let at = 0, end = 0; at < listed.length; at = end) {
      end = at + 1;
      if (listed[at] < 0 || family[listed[at]] !== "io") continue;
      while (end < listed.length && listed[end] >= 0 && op[listed[end]] === op[listed[at]]) end++;
      if (end - at < TOGETHER) continue;
      for (let i = at; i < end; i++) found[listed[i]] = 0;
      found[listed[at]] = end - at;
    }
  }
  return found;
}

function endsOf(graph: Graph): [Int32Array, Int32Array] {
  const parent = graph.groups.parent;
  const depth = depths(graph);
  const group = graph.nodes.group;
  const { source, target } = graph.edges;
  const starts = new Int32Array(source.length);
  const ends = new Int32Array(source.length);
  for (let e = 0; e < source.length; e++) {
    let start = source[e];
    let end = target[e];
    let a = group[start];
    let b = group[end];
    while (depth[a] > depth[b]) {
      start = ~a;
      a = parent[a];
    }
    while (depth[b] > depth[a]) {
      end = ~b;
      b = parent[b];
    }
    while (a !== b) {
      start = ~a;
      a = parent[a];
      end = ~b;
      b = parent[b];
    }
    starts[e] = start;
    ends[e] = end;
  }
  return [starts, ends];
}

/** Does a group take something from the item just before it? */
function followed(graph: Graph, items: number[][], starts: Int32Array, ends: Int32Array): Uint8Array {
  const before = new Int32Array(graph.groups.parent.length);
  for (const listed of items) {
    for (let i = 1; i < listed.length; i++) {
      if (listed[i] < 0 && listed[i - 1] < 0) before[~listed[i]] = listed[i - 1];
    }
  }
  const found = new Uint8Array(before.length);
  for (let e = 0; e < starts.length; e++) {
    if (ends[e] < 0 && starts[e] < 0 && before[~ends[e]] === starts[e]) found[~ends[e]] = 1;
  }
  return found;
}

function runs(
  graph: Graph,
  items: number[][],
  size: Int32Array,
  follows: Uint8Array,
): [Int32Array, Map<number, number[]>] {
  const alike = graph.groups.alike;
  const leader = Int32Array.from(alike.keys());
  const run = new Map<number, number[]>();
  const same = (one: number, other: number): boolean =>
    other < 0 && alike[~one] === alike[~other] && size[~one] === size[~other];
  for (const listed of items) {
    for (let at = 0, end = 0; at < listed.length; at = end) {
      end = at + 1;
      while (listed[at] < 0 && end < listed.length && same(listed[at], listed[end])) end++;
      if (end - at < 2) continue;
      const members = listed.slice(at, end).map((item) => ~item);
      for (const part of parts(members, follows)) {
        run.set(part[0], part);
        for (const member of part) leader[member] = part[0];
      }
    }
  }
  return [leader, run];
}

/** The runs within neighbors that are alike: those that feed each other, or very many that do not. */
function parts(members: number[], follows: Uint8Array): number[][] {
  const found = [[members[0]]];
  for (const member of members.slice(1)) {
    if (follows[member]) found[found.length - 1].push(member);
    else found.push([member]);
  }
  if (found.length === members.length && members.length >= SIDE_BY_SIDE) return [members];
  return found.filter((part) => part.length > 1);
}
