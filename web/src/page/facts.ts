// What is known of a box, as rows of a name and a value.

import { isStretch } from "../map/graph.ts";
import type { Box, View } from "../map/scene.ts";
import { type Shown, said, saidOf, valueOf } from "./measures.ts";
import type { State } from "./state.ts";

export interface Fact {
  name: string;
  value: string;
  share?: number; // of the whole network
}

const plural = (count: number, what: string): string => `${count.toLocaleString("en")} ${what}${count === 1 ? "" : "s"}`;

/** The facts of a box, those of its structure first. */
export function factsOf(state: State, measures: Map<string, Shown>, box: Box): Fact[] {
  const { graph, tree } = state;
  const facts: Fact[] = [];
  const add = (name: string, value: string): void => void (value && facts.push({ name, value }));
  const leaf = box.kind === "node" ? box.index : tree.size[box.index] === 1 ? leafOf(state, box.index) : -1;
  if (box.kind !== "node") {
    const groups = graph.groups;
    const stretch = isStretch(graph, box.index);
    add(stretch ? "Holds" : "Kind", groups.kind[box.index]);
    add(stretch ? "Part of" : "Path", groups.path[box.index]);
    if (groups.call[box.index]) add("Run", `number ${groups.call[box.index] + 1} of this module`);
    if (box.count > 1) add("Repeated", `${box.count} alike, one after the other`);
    if (leaf < 0) add("Inside", plural(tree.size[box.index] * box.count, "operation"));
  }
  if (leaf >= 0) {
    const { op, shape, dtype, label, site, family } = graph.nodes;
    add("Operation", op[leaf]);
    add("Family", family[leaf]);
    add("Output", shape[leaf] >= 0 ? `${graph.shapes[shape[leaf]]} ${dtype[leaf]}`.trim() : dtype[leaf]);
    add(label[leaf].includes("=") ? "Settings" : "Label", label[leaf]);
    add("Site", site[leaf]);
  }
  for (const [key, measure] of measures) {
    const value = valueOf(measure, tree, box);
    const least = key === "flops" && partlyKnown(state, box) ? "at least " : "";
    if (value === null || (measure.adds && !value)) continue;
    const fact: Fact = { name: measure.title, value: least + exact(value, measure) };
    const whole = measure.adds ? measure.groups[0] : null;
    if (whole) fact.share = Math.min(value / whole, 1);
    facts.push(fact);
  }
  return facts;
}

/** Are the FLOPs of some operation inside a box not known, so that their sum is a lower bound? */
function partlyKnown({ graph, tree }: State, box: Box): boolean {
  if (box.kind === "node") return false;
  const { flops, family, group } = graph.nodes;
  const members = new Set(box.count > 1 ? tree.run.get(box.index)! : [box.index]);
  return flops.some((known, node) => {
    if (known !== null || family[node] === "io") return false;
    for (let g = group[node]; g >= 0; g = graph.groups.parent[g]) if (members.has(g)) return true;
    return false;
  });
}

function exact(value: number, measure: Shown): string {
  const short = saidOf(measure, value);
  return Number.isInteger(value) && Math.abs(value) >= 1000 ? `${short} (${value.toLocaleString("en")})` : short;
}

function leafOf(state: State, group: number): number {
  let item = ~group;
  while (item < 0) item = state.tree.items[~item][0];
  return item;
}

export interface Neighbor {
  box: number;
  shape: string;
}

/** The boxes that feed a box and those that it feeds, by their place in the order of running. */
export function neighbors(view: View, b: number): { before: Neighbor[]; after: Neighbor[] } {
  const before: Neighbor[] = [];
  const after: Neighbor[] = [];
  for (const wire of view.wires) {
    if (wire.target === b) before.push({ box: wire.source, shape: wire.shape });
    if (wire.source === b) after.push({ box: wire.target, shape: wire.shape });
  }
  return { before, after };
}

const MORE: Record<string, string> = { flops: "more_flops", activation_bytes: "more_bytes" }; // not all is known

/** The facts of the whole network. */
export function totalsOf(state: State): Fact[] {
  const { graph } = state;
  const found: Fact[] = [];
  const given = graph.totals ?? {};
  const file = Boolean(given["tensors"]); // a file of weights tells no operations
  const names: [string, string, string][] = file
    ? [["parameters", "numbers", ""], ["parameter_bytes", "stored", "B"], ["tensors", "tensors", ""]]
    : [["parameters", "parameters", ""], ["flops", "FLOPs", ""], ["activation_bytes", "of activations", "B"], ["operations", "operations", ""]];
  for (const [key, name, unit] of names) {
    const value = given[key];
    const least = given[MORE[key]] ? "at least " : "";
    const lack = key === "flops" && least ? given["unknown_flops"] : 0;
    const more = lack ? ` (those of ${plural(Number(lack), "operation")} are not known)` : "";
    const one = value === 1 && !unit ? name.replace(/s$/, "") : name;
    if (typeof value === "number" && value) found.push({ name: one + more, value: least + said(value, unit) });
  }
  if (!found.length) found.push({ name: "operations", value: graph.nodes.op.length.toLocaleString("en") });
  return found;
}
