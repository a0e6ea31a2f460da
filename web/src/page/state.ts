// What the page shows: the graph, what is open in it, and the scene and places that follow.

import { type Graph, type Picture, ROOT, depths } from "../map/graph.ts";
import type { Direction, Placed } from "../map/layered.ts";
import { openFirst } from "../map/opening.ts";
import { type Outline, inside, opens, outline } from "../map/outline.ts";
import { type Box, type View, scene } from "../map/scene.ts";

/** An item of a graph that can be pointed at: i an operation, ~g a group. */
export type Item = number;

export class State {
  readonly tree: Outline;
  opened: Set<number>;
  unfolded = new Set<number>();
  direction: Direction = "down";
  readonly pictures = new Map<Item, number>(); // from an item to the number of its picture

  constructor(readonly graph: Graph) {
    this.tree = outline(graph);
    this.opened = this.first();
    (graph.overlay?.pictures ?? []).forEach((picture, p) => this.pictures.set(picture.node, p));
    this.pictureGroups();
  }

  /** A group is pictured by the last that leaves it of what is pictured, or else by what came last in it. */
  private pictureGroups(): void {
    const { nodes, groups, edges } = this.graph;
    const deep = depths(this.graph);
    const at = [...this.pictures];
    const leaves = new Int32Array(groups.parent.length).fill(-1);
    for (let e = 0; at.length && e < edges.source.length; e++) {
      let a = nodes.group[edges.source[e]];
      let b = nodes.group[edges.target[e]];
      while (a !== b && this.pictures.has(edges.source[e])) {
        if (deep[a] >= deep[b]) {
          leaves[a] = Math.max(leaves[a], edges.source[e]);
          a = groups.parent[a];
        } else b = groups.parent[b];
      }
    }
    for (const [node, p] of at) for (let g = nodes.group[node]; g > ROOT; g = groups.parent[g]) this.pictures.set(~g, p);
    for (let g = 1; g < leaves.length; g++) if (leaves[g] >= 0) this.pictures.set(~g, this.pictures.get(leaves[g])!);
  }

  scene(): View {
    return scene(this.tree, this.opened, this.unfolded, new Set(this.pictures.keys()));
  }

  /** The activations of a box, if there are any; of a group those of what came last in it. */
  picture(box: Box): Picture | undefined {
    const at = this.pictures.get(itemOf(box));
    return at === undefined ? undefined : this.graph.overlay?.pictures[at];
  }

  canOpen(box: Box): boolean {
    return box.kind !== "node" && opens(this.tree, box.index);
  }

  /** Open a group, or what a run of groups holds. */
  open(group: number): void {
    this.opened.add(group);
  }

  close(group: number): void {
    if (group !== ROOT) this.opened.delete(group);
  }

  /** Show the members of a run one by one. */
  unfold(group: number): void {
    this.unfolded.add(this.tree.leader[group]);
  }

  fold(group: number): void {
    this.unfolded.delete(this.tree.leader[group]);
  }

  isRun(group: number): boolean {
    return this.tree.run.has(this.tree.leader[group]);
  }

  /** The groups that are open at first: down to a depth when the graph says so, else what fits. */
  private first(): Set<number> {
    const depth = this.graph.show?.depth;
    if (!depth) return openFirst(this.tree);
    const deep = depths(this.graph);
    return new Set([...deep.keys()].filter((group) => deep[group] < depth));
  }

  restart(): void {
    this.opened = this.first();
    this.unfolded.clear();
  }

  openAll(unfold: boolean): void {
    this.opened = new Set(this.graph.groups.parent.keys());
    this.unfolded = new Set(unfold ? this.tree.run.keys() : []);
  }

  closeAll(): void {
    this.opened = new Set([ROOT]);
    this.unfolded.clear();
  }

  /** Open whatever hides an item. */
  reveal(item: Item): void {
    const { parent } = this.graph.groups;
    const { leader, run } = this.tree;
    for (let g = item >= 0 ? this.graph.nodes.group[item] : ~item; g > ROOT; g = parent[g]) {
      if (item >= 0 || g !== ~item) if (opens(this.tree, g)) this.opened.add(g);
      if (run.has(leader[g]) && g !== leader[g]) this.unfolded.add(leader[g]);
    }
  }

  /** The box in which an item is seen, or -1. */
  boxOf(view: View, item: Item): number {
    const at = view.boxes.findIndex((box) => (box.kind === "node" ? box.index : ~box.index) === item);
    if (at >= 0 || (item < 0 && !this.tree.size[~item])) return at;
    return view.boxOf(item >= 0 ? item : inside(this.tree, ~item)[0]);
  }

  /** The full name of a box. */
  pathOf(box: Pick<Box, "kind" | "index">): string {
    const { nodes, groups } = this.graph;
    return box.kind === "node" ? nodes.site[box.index] || groups.path[nodes.group[box.index]] : groups.path[box.index];
  }
}

export const itemOf = (box: Pick<Box, "kind" | "index">): Item => (box.kind === "node" ? box.index : ~box.index);

/** A scene with its places. */
export interface Stage {
  view: View;
  placed: Placed;
}
