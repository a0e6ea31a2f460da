// The layout in a thread of its own, so that the page stays alive while very many boxes are placed.

import { type Direction, layout } from "../map/layered.ts";
import type { Scene } from "../map/scene.ts";

self.onmessage = (event: MessageEvent<{ scene: Scene; direction: Direction; wide: number }>): void => {
  const placed = layout(event.data.scene, event.data.direction, event.data.wide);
  const { boxes, frames, corners, first } = placed;
  self.postMessage(placed, { transfer: [boxes.buffer, frames.buffer, corners.buffer, first.buffer] });
};
