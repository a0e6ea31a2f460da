// The graph of a network as plain columns, the JSON that Python's pellucid.architecture.text writes.

export interface Nodes {
  op: string[];
  family: string[];
  group: number[];
  shape: number[];
  dtype: string[];
  parameters: number[];
  flops: (number | null)[];
  bytes: number[];
  label: string[];
  site: string[];
}

export interface Groups {
  parent: number[];
  path: string[];
  call: number[];
  kind: string[];
  parameters: number[];
  flops: (number | null)[];
  bytes: number[];
  alike: number[];
}

export interface Edges {
  source: number[];
  target: number[];
  shape: number[];
}

export interface Measure {
  title: string;
  unit: string;
  scale: "log" | "linear" | "share";
  nodes: (number | null)[];
  groups: (number | null)[];
}

export interface Picture {
  node: number;
  height: number;
  width: number;
  channels: number[];
  low: number;
  high: number;
  signed: boolean;
  pixels: string;
}

export interface Overlay {
  measures: Record<string, Measure>;
  pictures: Picture[];
}

export interface Graph {
  name: string;
  source: string;
  nodes: Nodes;
  groups: Groups;
  edges: Edges;
  shapes: string[];
  kinds?: Record<string, string>; // the family of a layer by its class, where its name says one
  totals?: Record<string, number | boolean | null>;
  overlay?: Overlay;
  notes?: string[];
  show?: { color?: string | null; depth?: number | null };
}

export const ROOT = 0;

/** Is a group no module, but a stretch of a long list of operations in one, whose path and run it has? */
export function isStretch(graph: Graph, group: number): boolean {
  const { parent, path, call } = graph.groups;
  const above = parent[group];
  return above >= 0 && path[group] === path[above] && call[group] === call[above];
}

/** Which operations anything of an input flows into; where nothing does, which read anything. */
export function flowing(graph: Graph): boolean[] {
  const { source, target } = graph.edges;
  const found = graph.nodes.op.map((op) => op === "input");
  const inputs = found.filter(Boolean).length;
  source.forEach((from, e) => {
    if (found[from]) found[target[e]] = true;
  });
  if (found.filter(Boolean).length === inputs) for (const to of target) found[to] = true;
  return found;
}

/** How many groups each group lies in. */
export function depths(graph: Graph): Int32Array {
  const parent = graph.groups.parent;
  const found = new Int32Array(parent.length);
  for (let g = 1; g < parent.length; g++) found[g] = found[parent[g]] + 1;
  return found;
}
