// Numbers laid over the map: what boxes can be colored by.

import { amount } from "../map/lettering.ts";
import type { Graph, Measure } from "../map/graph.ts";
import type { Outline } from "../map/outline.ts";
import type { Box } from "../map/scene.ts";
import { type Rgb, viridis } from "./theme.ts";

/** All measures of a graph by name: those of its overlay, and those that every graph has. */
export function measuresOf(graph: Graph): Map<string, Measure> {
  const { nodes, groups } = graph;
  const own: [string, Measure][] = [
    ["parameters", { title: "Parameters", unit: "", scale: "log", nodes: nodes.parameters, groups: groups.parameters }],
    ["flops", { title: "Floating-point operations", unit: "", scale: "log", nodes: nodes.flops, groups: groups.flops }],
    ["memory", { title: "Memory of activations", unit: "B", scale: "log", nodes: nodes.bytes, groups: groups.bytes }],
  ];
  const found = new Map(own.filter(([, one]) => [one.nodes, one.groups].some((column) => column.some((v) => v))));
  for (const [name, measure] of Object.entries(graph.overlay?.measures ?? {})) found.set(name, measure);
  return found;
}

/** The number of a box; that of a run is the sum of what adds up, else the mean. */
export function valueOf(measure: Measure, tree: Outline, box: Pick<Box, "kind" | "index" | "count">): number | null {
  if (box.kind === "node") return measure.nodes[box.index] ?? null;
  const members = box.count > 1 ? tree.run.get(box.index)! : [box.index];
  let total = 0;
  let known = 0;
  for (const member of members) {
    const value = measure.groups[member];
    if (value === null || value === undefined) continue;
    total += value;
    known += 1;
  }
  if (!known) return null;
  return measure.scale === "log" ? total : total / known;
}

export interface Coloring {
  name: string;
  measure: Measure;
  low: number;
  high: number;
  of: (box: Box) => Rgb | null;
}

/** Colors of all boxes that are seen, from the smallest to the largest of their numbers. */
export function coloring(name: string, measure: Measure, tree: Outline, boxes: Box[]): Coloring {
  const log = measure.scale === "log";
  let low = Infinity;
  let high = -Infinity;
  const values = new Map<Box, number>();
  for (const box of boxes) {
    const value = valueOf(measure, tree, box);
    if (value === null || (log && value <= 0)) continue;
    values.set(box, value);
    low = Math.min(low, value);
    high = Math.max(high, value);
  }
  if (measure.scale === "share") [low, high] = [0, 1];
  if (low > high) [low, high] = [0, 0];
  const at = (value: number): number => (log ? Math.log(value) : value);
  const span = at(high) - at(low);
  const of = (box: Box): Rgb | null => {
    const value = values.get(box);
    return value === undefined ? null : viridis(span > 0 ? (at(value) - at(low)) / span : 0.5);
  };
  return { name, measure, low, high, of };
}

/** A number as it is read: 25.5 M, 0.731, 1.2e-05. */
export function said(value: number, unit = ""): string {
  const size = Math.abs(value);
  let text = String(value);
  if (size >= 1000) text = (value < 0 ? "−" : "") + amount(Math.floor(size));
  else if (!Number.isInteger(value)) text = size < 1e-3 && size > 0 ? value.toExponential(2) : String(+value.toPrecision(3));
  if (!unit) return text;
  return /[a-z]$/i.test(text) ? text + unit : `${text} ${unit}`;
}
