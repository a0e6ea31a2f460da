// The page of a map: its data stand in the element "graph"; nothing is ever fetched.

import type { Graph } from "../map/graph.ts";
import { App } from "./app.ts";

const began = performance.now();
const graph = JSON.parse(document.getElementById("graph")!.textContent!) as Graph;
const app = new App(graph, document.getElementById("map")!);
void app.change(() => undefined, true).then(() => {
  // The time to the first whole picture, for whoever measures: it was asked to be drawn first in this frame.
  requestAnimationFrame(() => {
    performance.measure("map", { start: began, end: performance.now() });
    document.documentElement.dataset["ready"] = String(Math.round(performance.now()));
  });
});
