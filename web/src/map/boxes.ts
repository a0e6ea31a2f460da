// What a box says and how large it is: a title, and at most two lines under it.

import { type Graph, isStretch } from "./graph.ts";
import { BOLD, LINE, TITLE, amount, fitting, shortened, units } from "./lettering.ts";
import { type Outline, inside, layer } from "./outline.ts";

export const SIDE = 10;
const NARROWEST = 64;
export const BAR = 22;
export const ROW = 15;
export const FOOT = 6;
export const PICTURE = 52;

// families, the one that says most first
const WEIGHTY = ["attention", "recurrent", "convolution", "linear", "normalization", "pooling", "activation", "arithmetic", "shape", "other"];
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
  return { family, title: shortened(op), lines: label ? [fitting(label)] : [], framed: "" };
}

/** The last part of a path. */
export const nameOf = (path: string): string => path.slice(path.lastIndexOf(".") + 1);

/** The box of a closed group, or of a run of `count` alike ones, and the title of its frame. */
export function groupBox(tree: Outline, group: number, count: number): Content {
  const groups = tree.graph.groups;
  const members = count > 1 ? tree.run.get(group)! : [group];
  let name = nameOf(groups.path[group]);
  const stretch = isStretch(tree.graph, group);
  if (stretch) name = ""; // it has none of its own: its kind says what it holds
  else if (count > 1) name = `${name} … ${nameOf(groups.path[members[members.length - 1]])}`;
  const said = kindOf(tree, group);
  let kind = (said || name) + (count > 1 ? ` ×${count}` : "");
  let parameters = 0;
  for (const member of members) parameters += groups.parameters[member];
  let family = "group";
  const known = name && (groups.kind[group] || (said && said !== name));
  const lines = known ? [shortened(name)] : []; // of what has no kind the name is the title
  if (tree.size[group] === 1) {
    const [only] = inside(tree, group);
    family = layer(tree, group) ?? tree.graph.nodes.family[only];
    const label = tree.graph.nodes.label[only];
    if (label) lines.push(fitting(label));
  } else {
    family = layer(tree, group) ?? (stretch ? mainFamily(tree, group) : family);
    const label = fitting(weightsOf(tree, group));
    if (label) lines.push(label);
    else if (parameters) lines.push(amountOf(parameters, "parameter"));
    else if (stretch) lines.push(amountOf(tree.size[group], "operation"));
  }
  const framed = known && name !== kind ? `${name} · ${kind}` : kind;
  if (CONTAINERS.has(said) && count === 1 && name) {
    kind = name;
    lines[0] = said;
  }
  return { family, title: shortened(kind), lines, framed: shortened(framed) };
}

const amountOf = (number: number, what: string): string => `${amount(number)} ${what}${number === 1 ? "" : "s"}`;

/** The family of what counts most in a stretch of operations, which has its color. */
function mainFamily(tree: Outline, group: number): string {
  const found = new Set(inside(tree, group).map((node) => tree.graph.nodes.family[node]));
  return WEIGHTY.find((family) => found.has(family)) ?? "group";
}

/** The label of the one operation of a layer that reads weights, such as a convolution that pads first. */
function weightsOf(tree: Outline, group: number): string {
  const { nodes } = tree.graph;
  const found = layer(tree, group) ? inside(tree, group).filter((node) => nodes.parameters[node]) : [];
  return found.length === 1 ? nodes.label[found[0]] : "";
}

/** The class of a group; where only names are known, the operation that it is, unless nothing ran. */
function kindOf(tree: Outline, group: number): string {
  const { groups, nodes, edges } = tree.graph;
  const kind = groups.kind[group];
  if (kind || tree.size[group] !== 1 || !edges.source.length) return kind;
  return nodes.op[inside(tree, group)[0]];
}
