// What is seen of a graph when some of its groups are open: boxes, the frames around them, and the wires between.

import { framedWidth, groupBox, nodeBox, sized } from "./boxes.ts";
import { farWires } from "./fanout.ts";
import { ROOT } from "./graph.ts";
import { type Outline, inside, opens } from "./outline.ts";

export type Kind = "node" | "group" | "run";

/** A card: an operation, a closed group, a run of `count` alike groups folded into one, or `count` inputs or outputs. */
export interface Box {
  kind: Kind;
  index: number;
  frame: number;
  count: number;
  family: string;
  title: string;
  lines: string[];
  width: number;
  height: number;
  pictured: boolean;
  constant: boolean;
}

/** An open group, or the first of `count` alike ones that is open for all of them; frame 0 is the network. */
export interface Frame {
  group: number;
  parent: number;
  count: number;
  title: string;
  width: number;
}

/** What flows from box to box: `count` tensors, the first of `shape`.  A far wire is named rather than drawn. */
export interface Wire {
  source: number;
  target: number;
  count: number;
  shape: string;
  far: boolean;
}

export interface Scene {
  boxes: Box[];
  frames: Frame[];
  wires: Wire[];
}

export interface Shown {
  opened: ReadonlySet<number>;
  unfolded: ReadonlySet<number>;
  pictured: ReadonlySet<number>;
}

export interface View extends Scene {
  boxOf(node: number): number;
}

const NONE: ReadonlySet<number> = new Set();

/** The boxes that are seen when the groups `opened` are open; a group in a closed one is not seen. */
export function scene(tree: Outline, opened: ReadonlySet<number>, unfolded = NONE, pictured = NONE): View {
  const walk = new Walk(tree, { opened, unfolded, pictured });
  walk.walk();
  const wires = walk.wires();
  return { boxes: walk.boxes, frames: walk.frames, wires, boxOf: (node) => walk.boxOf(node) };
}

class Walk {
  readonly boxes: Box[] = [];
  readonly frames: Frame[] = [{ group: ROOT, parent: -1, count: 1, title: "", width: 0 }];
  private readonly ofNode: Int32Array; // an operation's own box
  private readonly ofGroup: Int32Array; // the box of a closed group
  private readonly shadow: Int32Array; // a group not drawn, as the first of its run stands for it
  private readonly standsFor: Int32Array;

  constructor(private readonly tree: Outline, private readonly shown: Shown) {
    const nodes = tree.graph.nodes.op.length;
    const groups = tree.graph.groups.parent.length;
    this.ofNode = new Int32Array(nodes).fill(-1);
    this.ofGroup = new Int32Array(groups).fill(-1);
    this.shadow = new Int32Array(groups).fill(-1);
    this.standsFor = Int32Array.from({ length: nodes }, (_, i) => i);
  }

  walk(): void {
    const { tree } = this;
    const items: number[] = [];
    const frames: number[] = [];
    const enter = (group: number, frame: number): void => {
      const held = tree.items[group];
      for (let i = held.length - 1; i >= 0; i--) {
        items.push(held[i]);
        frames.push(frame);
      }
    };
    enter(ROOT, 0);
    while (items.length) {
      const item = items.pop()!;
      const frame = frames.pop()!;
      if (item >= 0) {
        const count = tree.together[item];
        this.ofNode[item] = count ? this.boxes.length : this.boxes.length - 1;
        if (count) this.add("node", item, frame, count);
        continue;
      }
      const group = ~item;
      const count = this.count(group);
      if (count && this.shown.opened.has(group) && opens(tree, group)) enter(group, this.open(group, frame, count));
      else if (count) this.close(group, frame, count);
    }
    const parent = tree.graph.groups.parent;
    for (let g = 1; g < parent.length; g++) {
      if (this.ofGroup[g] < 0) this.ofGroup[g] = this.ofGroup[parent[g]];
      if (this.shadow[g] < 0) this.shadow[g] = this.shadow[parent[g]];
    }
  }

  /** How many groups this one stands for; 0 when another stands for it. */
  private count(group: number): number {
    const leader = this.tree.leader[group];
    const run = this.tree.run.get(leader);
    if (!run || this.shown.unfolded.has(leader)) return 1;
    return group === leader ? run.length : 0;
  }

  private add(kind: Kind, index: number, frame: number, count: number): void {
    const graph = this.tree.graph;
    const node = kind === "node";
    const pictured = this.shown.pictured.has(node ? index : ~index);
    const constant = node && graph.nodes.op[index].toLowerCase() === "constant";
    const content = node ? nodeBox(graph, index, count) : groupBox(this.tree, index, count);
    const [width, height] = sized(content, pictured);
    const { family, title, lines } = content;
    this.boxes.push({ kind, index, frame, count, family, title, lines, width, height, pictured, constant });
  }

  private close(group: number, frame: number, count: number): void {
    for (const member of count > 1 ? this.tree.run.get(group)! : [group]) this.ofGroup[member] = this.boxes.length;
    this.add(count > 1 ? "run" : "group", group, frame, count);
  }

  private open(group: number, frame: number, count: number): number {
    const content = groupBox(this.tree, group, count);
    this.frames.push({ group, parent: frame, count, title: content.framed, width: framedWidth(content) });
    if (count > 1) {
      const models = inside(this.tree, group);
      for (const member of this.tree.run.get(group)!.slice(1)) {
        this.shadow[member] = member;
        inside(this.tree, member).forEach((node, i) => (this.standsFor[node] = models[i]));
      }
    }
    return this.frames.length - 1;
  }

  /** The box in which an operation is seen. */
  boxOf(node: number): number {
    while (this.standsFor[node] !== node) node = this.standsFor[node];
    const own = this.ofNode[node];
    return own >= 0 ? own : this.ofGroup[this.tree.graph.nodes.group[node]];
  }

  /** Edges between the boxes in which their ends are seen, those between the same two merged. */
  wires(): Wire[] {
    const { tree } = this;
    const { source, target, shape } = tree.graph.edges;
    const group = tree.graph.nodes.group;
    const known = new Map<number, number>(); // from the pair of boxes to its place in `found`
    const found: { key: number; edge: number; last: number; count: number }[] = [];
    const many = this.boxes.length;
    for (const edge of tree.order) {
      const start = source[edge];
      const end = target[edge];
      const hidden = this.shadow[group[start]];
      if ((hidden >= 0 && hidden === this.shadow[group[end]]) || this.repeats(tree.start[edge], tree.end[edge])) continue;
      const from = this.boxOf(start);
      const to = this.boxOf(end);
      if (from === to) continue;
      const key = from * many + to;
      let at = known.get(key);
      if (at === undefined) {
        at = found.push({ key, edge, last: -1, count: 0 }) - 1;
        known.set(key, at);
      }
      if (found[at].last !== this.standsFor[start]) {
        found[at].last = this.standsFor[start];
        found[at].count += 1;
      }
    }
    found.sort((a, b) => a.key - b.key);
    const from = found.map((one) => Math.floor(one.key / many));
    const to = found.map((one) => one.key % many);
    const far = farWires(many, from, to);
    const texts = tree.graph.shapes;
    return found.map(({ edge, count }, w) => {
      const text = shape[edge] < 0 ? "" : texts[shape[edge]];
      return { source: from[w], target: to[w], count, shape: text, far: far[w] };
    });
  }

  /** Does an edge lead from one group of a folded run to another, which are drawn as one? */
  private repeats(start: number, end: number): boolean {
    if (start >= 0 || end >= 0) return false;
    const leader = this.tree.leader[~start];
    if (leader !== this.tree.leader[~end] || !this.tree.run.has(leader)) return false;
    return !this.shown.unfolded.has(leader);
  }
}
