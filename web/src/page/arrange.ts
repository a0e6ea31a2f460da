// Finding places: at once for what is small, in a worker for what is large, and here when workers are refused.

import source from "worker:layout";
import { type Direction, type Placed, layout } from "../map/layered.ts";
import type { Scene } from "../map/scene.ts";

const SMALL = 1500; // boxes that are placed within a frame or two of the screen

let refused = false;

/** The places of a scene. */
export async function arrange(scene: Scene, direction: Direction, wide: number): Promise<Placed> {
  if (scene.boxes.length <= SMALL || refused) return layout(scene, direction, wide);
  try {
    return await elsewhere(scene, direction, wide);
  } catch {
    refused = true; // some browsers refuse workers to pages that are opened from disk
    return layout(scene, direction, wide);
  }
}

function elsewhere(scene: Scene, direction: Direction, wide: number): Promise<Placed> {
  const address = URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
  const worker = new Worker(address);
  const { boxes, frames, wires } = scene;
  return new Promise<Placed>((resolve, reject) => {
    worker.onmessage = (event: MessageEvent<Placed>): void => resolve(event.data);
    worker.onerror = (): void => reject(new Error("The worker was refused."));
    worker.postMessage({ scene: { boxes, frames, wires }, direction, wide });
  }).finally(() => {
    worker.terminate();
    URL.revokeObjectURL(address);
  });
}
