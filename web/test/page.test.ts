// The parts of the page that need no screen: columns, finding, what is near, numbers as they are read.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import test from "node:test";
import type { Graph } from "../src/map/graph.ts";
import { layout } from "../src/map/layered.ts";
import { activation, inkOn, viridis } from "../src/page/colors.ts";
import { totalsOf } from "../src/page/facts.ts";
import { coloring, measuresOf, said, valueOf } from "../src/page/measures.ts";
import { Near } from "../src/page/near.ts";
import { find } from "../src/page/search.ts";
import { Sheet } from "../src/page/sheet.ts";
import { type Stage, State, itemOf } from "../src/page/state.ts";
import { themeOf } from "../src/page/theme.ts";
import { step } from "../src/page/walk.ts";

const folder = join(import.meta.dirname, "../../vectors");

function stateOf(name: string): State {
  return new State((JSON.parse(readFileSync(join(folder, `${name}.json`), "utf8")) as { graph: Graph }).graph);
}

function stageOf(state: State): Stage {
  const view = state.scene();
  return { view, placed: layout(view, state.direction) };
}

for (const direction of ["down", "right"] as const) {
  test(`columns (${direction}) cut no box, hold every box once, and lead back to the same place`, () => {
    const state = stateOf("transformer");
    state.openAll(true);
    state.direction = direction;
    const stage = stageOf(state);
    const { boxes } = stage.placed;
    const sheet = Sheet.of(stage, 1400, 900, true);
    assert.ok(sheet.count > 2);
    const axis = direction === "down" ? 1 : 0;
    for (let b = 0; b < stage.view.boxes.length; b++) {
      const [start, end] = [boxes[4 * b + axis], boxes[4 * b + axis] + boxes[4 * b + 2 + axis]];
      assert.equal(sheet.columnOf(start), sheet.columnOf(end));
      const back = sheet.toMap(sheet.toSheet(boxes[4 * b] + 1, boxes[4 * b + 1] + 1));
      assert.ok(Math.abs(back.x - boxes[4 * b] - 1) < 1e-6 && Math.abs(back.y - boxes[4 * b + 1] - 1) < 1e-6);
    }
    const places = sheet.placesOf(boxes);
    for (let b = 0; b < stage.view.boxes.length; b++) {
      assert.ok(places[4 * b] >= 0 && places[4 * b] + places[4 * b + 2] <= sheet.width + 1e-6);
      assert.ok(places[4 * b + 1] >= 0 && places[4 * b + 1] + places[4 * b + 3] <= sheet.height + 1e-6);
    }
  });
}

test("in columns a tall map is larger on the screen; folding can be turned off", () => {
  const state = stateOf("transformer");
  state.openAll(true);
  const stage = stageOf(state);
  const scale = (sheet: Sheet): number => Math.min(1400 / sheet.width, 900 / sheet.height);
  const flat = Sheet.of(stage, 1400, 900, false);
  assert.equal(flat.count, 1);
  assert.equal(flat.height, stage.placed.height);
  assert.ok(scale(Sheet.of(stage, 1400, 900, true)) > 1.5 * scale(flat));
});

test("what is near is what a look at everything finds", () => {
  const state = stateOf("residual");
  state.openAll(true);
  const stage = stageOf(state);
  const near = new Near(stage);
  const { boxes } = stage.placed;
  for (const [x0, y0, x1, y1] of [[0, 0, 1e4, 1e4], [50, 100, 200, 400], [0, 300, 90, 310], [-9, -9, -1, -1]]) {
    const all = [...stage.view.boxes.keys()].filter(
      (b) => boxes[4 * b] <= x1 && boxes[4 * b] + boxes[4 * b + 2] >= x0 && boxes[4 * b + 1] <= y1 && boxes[4 * b + 1] + boxes[4 * b + 3] >= y0,
    );
    assert.deepEqual(near.boxesIn(x0, y0, x1, y1).sort((a, b) => a - b), all);
  }
  for (let b = 0; b < stage.view.boxes.length; b++) {
    assert.equal(near.boxAt(boxes[4 * b] + boxes[4 * b + 2] / 2, boxes[4 * b + 1] + boxes[4 * b + 3] / 2), b);
  }
});

test("every word of a search must be there, in any case and order", () => {
  const { graph } = stateOf("transformer");
  const { path } = graph.groups;
  assert.deepEqual(find(graph, "  "), []);
  assert.deepEqual(find(graph, "embed layers"), []);
  assert.deepEqual(find(graph, "SOFTMAX layers.0").map((item) => graph.nodes.op[item]), ["Softmax"]);
  assert.deepEqual(find(graph, "norm2 0").filter((item) => item < 0).map((item) => path[~item]), ["layers.0.norm2"]);
  assert.equal(find(graph, "a", 3).length, 3);
});

test("revealing an item opens what hides it, also in a folded run", () => {
  const state = stateOf("transformer");
  const { op } = state.graph.nodes;
  state.closeAll();
  for (const item of [op.indexOf("Softmax"), op.lastIndexOf("Softmax")]) {
    state.reveal(item);
    const view = state.scene();
    assert.equal(itemOf(view.boxes[state.boxOf(view, item)]), item);
  }
  assert.notEqual(op.indexOf("Softmax"), op.lastIndexOf("Softmax"));
});

test("an operation in a folded run is seen in the box of the first of them", () => {
  const state = stateOf("transformer");
  const last = state.graph.nodes.op.lastIndexOf("Softmax");
  const view = state.scene();
  const box = view.boxes[state.boxOf(view, last)];
  assert.equal(box.title, "Softmax");
  assert.notEqual(box.index, last);
});

test("walking on and back follows the wires", () => {
  const stage = stageOf(stateOf("chain"));
  assert.equal(step(stage, -1, "on"), 0);
  for (let b = 1; b < stage.view.boxes.length; b++) {
    assert.equal(step(stage, b - 1, "on"), b);
    assert.equal(step(stage, b, "back"), b - 1);
    assert.equal(step(stage, b, "left"), -1);
  }
});

test("the number of a run is the sum of what adds up", () => {
  const state = stateOf("transformer");
  const parameters = measuresOf(state.graph).get("parameters")!;
  const [leader, members] = [...state.tree.run][0];
  const total = members.reduce((sum, member) => sum + state.graph.groups.parameters[member], 0);
  assert.equal(valueOf(parameters, state.tree, { kind: "run", index: leader, count: members.length }), total);
  const share = { ...parameters, adds: false };
  assert.equal(valueOf(share, state.tree, { kind: "run", index: leader, count: members.length }), total / members.length);
});

test("colors go from the smallest to the largest number that is seen; what has none has no color", () => {
  const state = stateOf("residual");
  const { boxes } = state.scene();
  const nodes = state.graph.nodes.op.map((_, i) => (i ? 10 ** i : null));
  const groups = state.graph.groups.path.map(() => null);
  const found = coloring("x", { title: "x", unit: "", scale: "log", nodes, groups, adds: false }, state.tree, boxes);
  const seen = boxes.filter((box) => box.kind === "node" && box.index > 0);
  assert.equal(found.low, Math.min(...seen.map((box) => nodes[box.index]!)));
  assert.equal(found.high, Math.max(...seen.map((box) => nodes[box.index]!)));
  assert.deepEqual(found.of(seen.find((box) => nodes[box.index] === found.low)!), viridis(0));
  assert.deepEqual(found.of(seen.find((box) => nodes[box.index] === found.high)!), viridis(1));
  assert.equal(found.of(boxes[0]), null);
});

const light = ([r, g, b]: number[]): number => {
  const linear = (v: number): number => (v <= 10.3 ? v / 3294.6 : ((v / 255 + 0.055) / 1.055) ** 2.4);
  return 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
};

const hex = (text: string): number[] => [1, 3, 5].map((k) => parseInt(text.slice(k, k + 2), 16));

/** The contrast of two colors, as WCAG 2 defines it. */
function contrast(one: number[], other: number[]): number {
  const [a, b] = [light(one), light(other)].sort((x, y) => y - x);
  return (a + 0.05) / (b + 0.05);
}

test("text on a color is readable: at least 4.5 to 1", () => {
  for (let share = 0; share <= 1; share += 0.01) {
    assert.ok(contrast(viridis(share), hex(inkOn(viridis(share)))) >= 4.5, `at ${share}`);
  }
  for (const theme of [themeOf(false), themeOf(true)]) {
    for (const [family, color] of Object.entries(theme.families)) assert.ok(contrast(hex(color), hex(theme.title)) >= 4.5, family);
    for (const ground of [theme.page, theme.card, ...theme.frames]) {
      for (const text of [theme.ink, theme.quiet, theme.accent]) assert.ok(contrast(hex(text), hex(ground)) >= 4.5, `${text} on ${ground}`);
    }
  }
});

test("numbers are short and say their unit", () => {
  assert.deepEqual(
    [said(25_557_032), said(1536, "B"), said(0.12345), said(0), said(1.5e-7), said(12), said(-4200), said(3, "ms")],
    ["25.6 M", "1.54 kB", "0.123", "0", "1.50e-7", "12", "−4.2 k", "3 ms"],
  );
});

test("totals that are known in part are said to be at least that", () => {
  const state = stateOf("chain");
  state.graph.totals = { parameters: 12, flops: 48, activation_bytes: 52, operations: 3, more_flops: true, more_bytes: false };
  assert.deepEqual(
    totalsOf(state).map((fact) => fact.value),
    ["12", "at least 48", "52 B", "3"],
  );
});

test("activations have the colors of the still pictures: published ends, blue below zero, red above, neutral between", () => {
  assert.deepEqual(activation(0, false, false), [0, 0, 4]); // inferno
  assert.deepEqual(activation(1, false, true), [252, 255, 164]);
  assert.deepEqual([viridis(0), viridis(1)], [[68, 1, 84], [253, 231, 37]]);
  for (const dark of [false, true]) {
    const [low, zero, high] = [0.15, 0.5, 0.85].map((share) => activation(share, true, dark));
    assert.ok(low[2] > low[0] && high[0] > high[2], "blue below, red above");
    assert.ok(Math.max(...zero) - Math.min(...zero) < 24, "no hue at zero");
    assert.equal(Math.max(...zero) < 128, dark, "as light as the page");
  }
});
