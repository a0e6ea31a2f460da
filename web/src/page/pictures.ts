// Thumbnails of activations: bytes become small canvases, channel beside channel, when they are first drawn.

import type { Picture } from "../map/graph.ts";

const cache = new Map<Picture, HTMLCanvasElement[]>();

/** One canvas for each channel of a picture. */
export function channels(picture: Picture): HTMLCanvasElement[] {
  let found = cache.get(picture);
  if (!found) {
    const bytes = Uint8Array.from(atob(picture.pixels), (c) => c.charCodeAt(0));
    const size = picture.width * picture.height;
    const count = Math.min(picture.channels.length, Math.floor(bytes.length / size));
    found = Array.from({ length: count }, (_, c) => drawn(picture, bytes.subarray(c * size, (c + 1) * size)));
    cache.set(picture, found);
  }
  return found;
}

function drawn(picture: Picture, bytes: Uint8Array): HTMLCanvasElement {
  const canvas = document.createElement("canvas");
  canvas.width = picture.width;
  canvas.height = picture.height;
  const to = canvas.getContext("2d")!;
  const image = to.createImageData(picture.width, picture.height);
  for (let i = 0; i < bytes.length; i++) image.data.set([...(picture.signed ? signed(bytes[i]) : [bytes[i], bytes[i], bytes[i]]), 255], 4 * i);
  to.putImageData(image, 0, 0);
  return canvas;
}

/** Blue below zero, red above, and grey between: the lighter, the further from zero. */
function signed(byte: number): [number, number, number] {
  const share = (byte - 128) / 127;
  const far = Math.min(Math.abs(share), 1);
  const mix = (low: number, high: number): number => Math.round(low + (high - low) * far);
  return share < 0 ? [mix(30, 120), mix(32, 185), mix(36, 255)] : [mix(30, 255), mix(32, 160), mix(36, 110)];
}
