// Numbers laid over the map: what boxes can be colored by.

import { amount } from "../map/lettering.ts";
import type { Graph, Measure } from "../map/graph.ts";
import type { Outline } from "../map/outline.ts";
import type { Box } from "../map/scene.ts";
import { type Rgb, viridis } from "./colors.ts";

const ADDING = new Set(["parameters", "flops", "memory", "time", "stored", "numbers"]); // of parts: what is in the whole is their sum

/** A measure, and whether the numbers of parts add up to that of the whole. */
export interface Shown extends Measure {
  adds: boolean;
}

/** All measures of a graph by name: those of its overlay, and those that every graph has. */
export function measuresOf(graph: Graph): Map<string, Shown> {
  const { nodes, groups } = graph;
  const own: [string, Measure][] = [
    ["parameters", { title: "Parameters", unit: "", scale: "log", nodes: nodes.parameters, groups: groups.parameters }],
    ["flops", { title: "Floating-point operations", unit: "", scale: "log", nodes: nodes.flops, groups: groups.flops }],
    ["memory", { title: "Memory of activations", unit: "B", scale: "log", nodes: nodes.bytes, groups: groups.bytes }],
  ];
  const known = own.filter(([, one]) => [one.nodes, one.groups].some((column) => column.some((v) => v)));
  const all = new Map([...known, ...Object.entries(graph.overlay?.measures ?? {})]);
  return new Map([...all].map(([name, measure]) => [name, { ...measure, adds: ADDING.has(name) }]));
}

/** The number of a box; that of a run is the sum of what adds up, else the mean. */
export function valueOf(measure: Shown, tree: Outline, box: Pick<Box, "kind" | "index" | "count">): number | null {
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
  return measure.adds ? total : total / known;
}

export interface Coloring {
  name: string;
  measure: Measure;
  low: number;
  high: number;
  of: (box: Box) => Rgb | null;
}

/** Colors of all boxes that are seen, from the smallest to the largest of their numbers. */
export function coloring(name: string, measure: Shown, tree: Outline, boxes: Box[]): Coloring {
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

/** A number of a measure as it is read: a share in percent, a time in the unit that fits it. */
export function saidOf(measure: Measure, value: number): string {
  if (measure.scale === "share") return `${said(+(100 * value).toPrecision(2))} %`;
  if (measure.unit !== "s") return said(value, measure.unit);
  return value >= 1e-3 ? said(1e3 * value, "ms") : said(1e6 * value, "µs");
}

/** A number as it is read: 25.6 M, 0.731, 1.2e-05. */
export function said(value: number, unit = ""): string {
  const size = Math.abs(value);
  let text = String(value);
  if (size >= 1000) text = (value < 0 ? "−" : "") + amount(Math.floor(size));
  else if (!Number.isInteger(value)) text = size < 1e-3 && size > 0 ? value.toExponential(2) : String(+value.toPrecision(3));
  if (!unit) return text;
  return /[a-z]$/i.test(text) ? text + unit : `${text} ${unit}`;
}
