// What a box says and how large it is: a title, and at most two lines under it.

import type { Graph } from "./graph.ts";
import { BOLD, LINE, TITLE, amount, shortened, units } from "./lettering.ts";
import { type Outline, inside, layer } from "./outline.ts";

export const SIDE = 10;
const NARROWEST = 64;
export const BAR = 22;
export const ROW = 15;
export const FOOT = 6;
export const PICTURE = 52;

const CONTAINERS = new Set(["Sequential", "ModuleList", "ModuleDict"]); // they say nothing: the name says more

export interface Content {
  family: string;
  title: string;
  lines: string[];
  framed: string;
}

const points = (thousandths: number): number => Math.ceil(thousandths / 1000);

export function bold(text: string): number {
  return points(Math.floor((units(text) * TITLE * BOLD) / 100));
}

/** Width and height of a box. */
export function sized(content: Content, pictured: boolean): [number, number] {
  let width = bold(content.title);
  for (const line of content.lines) width = Math.max(width, points(units(line) * LINE));
  const rows = content.lines.length ? ROW * content.lines.length + FOOT : 0;
  return [Math.max(width + 2 * SIDE, NARROWEST), BAR + rows + (pictured ? PICTURE : 0)];
}

export const framedWidth = (content: Content): number => bold(content.framed) + 2 * SIDE;

/** The box of an operation, or of `count` inputs or outputs. */
export function nodeBox(graph: Graph, node: number, count: number): Content {
  const op = graph.nodes.op[node];
  const family = graph.nodes.family[node];
  const label = graph.nodes.label[node];
  if (count > 1) return { family, title: shortened(`${op} ×${count}`), lines: [], framed: "" };
  return { family, title: shortened(op), lines: label ? [shortened(label)] : [], framed: "" };
}

/** The last part of a path. */
export const nameOf = (path: string): string => path.slice(path.lastIndexOf(".") + 1);

/** The box of a closed group, or of a run of `count` alike ones, and the title of its frame. */
export function groupBox(tree: Outline, group: number, count: number): Content {
  const groups = tree.graph.groups;
  let name = nameOf(groups.path[group]);
  let kind = groups.kind[group] || name;
  const members = count > 1 ? tree.run.get(group)! : [group];
  if (count > 1) {
    kind = `${kind} ×${count}`;
    name = `${name} … ${nameOf(groups.path[members[members.length - 1]])}`;
  }
  let parameters = 0;
  for (const member of members) parameters += groups.parameters[member];
  let family = "group";
  const lines = name && groups.kind[group] ? [shortened(name)] : []; // of no known kind: a name is enough
  if (tree.size[group] === 1) {
    const [only] = inside(tree, group);
    family = layer(tree, group) ?? tree.graph.nodes.family[only];
    const label = tree.graph.nodes.label[only];
    if (label) lines.push(shortened(label));
  } else {
    family = layer(tree, group) ?? family;
    if (parameters) lines.push(`${amount(parameters)} parameters`);
  }
  const framed = name && name !== kind && groups.kind[group] ? `${name} · ${kind}` : kind;
  if (CONTAINERS.has(groups.kind[group]) && count === 1 && name) {
    kind = name;
    lines[0] = groups.kind[group];
  }
  return { family, title: shortened(kind), lines, framed: shortened(framed) };
}
