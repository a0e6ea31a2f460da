// Thumbnails of activations: bytes become small canvases, channel beside channel, when they are first drawn.

import type { Picture } from "../map/graph.ts";
import { activation } from "./colors.ts";

const cache = { light: new Map<Picture, HTMLCanvasElement[]>(), dark: new Map<Picture, HTMLCanvasElement[]>() };

/** One canvas for each channel of a picture. */
export function channels(picture: Picture, dark: boolean): HTMLCanvasElement[] {
  const kept = cache[dark ? "dark" : "light"];
  let found = kept.get(picture);
  if (!found) {
    const bytes = Uint8Array.from(atob(picture.pixels), (c) => c.charCodeAt(0));
    const size = picture.width * picture.height;
    const count = Math.min(picture.channels.length, Math.floor(bytes.length / size));
    found = Array.from({ length: count }, (_, c) => drawn(picture, bytes.subarray(c * size, (c + 1) * size), dark));
    kept.set(picture, found);
  }
  return found;
}

function drawn(picture: Picture, bytes: Uint8Array, dark: boolean): HTMLCanvasElement {
  const canvas = document.createElement("canvas");
  canvas.width = picture.width;
  canvas.height = picture.height;
  const to = canvas.getContext("2d")!;
  const image = to.createImageData(picture.width, picture.height);
  bytes.forEach((byte, i) => image.data.set([...activation(byte / 255, picture.signed, dark), 255], 4 * i));
  to.putImageData(image, 0, 0);
  return canvas;
}
