// Both languages must see the same scene and find the same places: web/vectors, written by web/vectors/make.py.

import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import test from "node:test";
import type { Graph } from "../src/map/graph.ts";
import { type Direction, layout } from "../src/map/layered.ts";
import { openFirst } from "../src/map/opening.ts";
import { outline } from "../src/map/outline.ts";
import { scene } from "../src/map/scene.ts";

interface View {
  opened: number[];
  unfolded: number[];
  pictured: number[];
  direction: Direction;
  wide: number;
  scene: { boxes: unknown[][]; frames: unknown[][]; wires: unknown[][] };
  placed: { boxes: number[][]; frames: number[][]; routes: number[][]; steps: number };
}

interface Vector {
  graph: Graph;
  first: number[];
  few: number[];
  views: View[];
}

const folder = join(import.meta.dirname, "../../vectors");
const sorted = (found: Set<number>): number[] => [...found].sort((a, b) => a - b);

function close(found: ArrayLike<number>, expected: number[], what: string): void {
  assert.equal(found.length, expected.length, `${what}: length`);
  for (let i = 0; i < expected.length; i++) {
    assert.ok(Math.abs(found[i] - expected[i]) <= 1e-6, `${what} at ${i}: ${found[i]} is not ${expected[i]}`);
  }
}

for (const name of readdirSync(folder).filter((file) => file.endsWith(".json"))) {
  const vector = JSON.parse(readFileSync(join(folder, name), "utf8")) as Vector;
  const tree = outline(vector.graph);

  test(`${name}: opens the same groups first`, () => {
    assert.deepEqual(sorted(openFirst(tree)), vector.first);
    assert.deepEqual(sorted(openFirst(tree, 12)), vector.few);
  });

  vector.views.forEach((view, i) => {
    test(`${name}, view ${i}: the same scene and places`, () => {
      const seen = scene(tree, new Set(view.opened), new Set(view.unfolded), new Set(view.pictured));
      assert.deepEqual(seen.boxes.map((one) => Object.values(one)), view.scene.boxes);
      assert.deepEqual(seen.frames.map((one) => Object.values(one)), view.scene.frames);
      assert.deepEqual(seen.wires.map((one) => Object.values(one)), view.scene.wires);
      const placed = layout(seen, view.direction, view.wide);
      close(placed.boxes, view.placed.boxes.flat(), "boxes");
      close(placed.frames, view.placed.frames.flat(), "frames");
      close(placed.corners, view.placed.routes.flat(), "corners");
      assert.deepEqual(
        Array.from(placed.first, (_, w) => placed.first[w + 1] - placed.first[w]).slice(0, -1),
        view.placed.routes.map((route) => route.length),
      );
      assert.equal(placed.steps, view.placed.steps);
    });
  });
}
