// The whole map in a corner, with the part that is on screen; a press or a drag on it goes there.

import type { Camera, Place } from "./camera.ts";
import type { Coloring } from "./measures.ts";
import type { Sheet } from "./sheet.ts";
import type { Stage } from "./state.ts";
import { css } from "./colors.ts";
import type { Theme } from "./theme.ts";

const WIDEST = 180;
const TALLEST = 180;

export class Minimap {
  private readonly picture = document.createElement("canvas");
  private scale = 1;

  constructor(private readonly canvas: HTMLCanvasElement, go: (to: Place) => void) {
    const moved = (event: PointerEvent): void => {
      const { left, top } = canvas.getBoundingClientRect();
      go({ x: (event.clientX - left) / this.scale, y: (event.clientY - top) / this.scale });
    };
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      moved(event);
    });
    canvas.addEventListener("pointermove", (event) => {
      if (canvas.hasPointerCapture(event.pointerId)) moved(event);
    });
  }

  /** Draw the map itself, once for every change. */
  take({ view, placed }: Stage, sheet: Sheet, theme: Theme, coloring: Coloring | null): void {
    this.scale = Math.min(WIDEST / sheet.width, TALLEST / sheet.height);
    const [width, height] = [Math.max(sheet.width * this.scale, 10), Math.max(sheet.height * this.scale, 10)];
    const ratio = devicePixelRatio || 1;
    for (const canvas of [this.canvas, this.picture]) {
      canvas.width = Math.ceil(width * ratio);
      canvas.height = Math.ceil(height * ratio);
    }
    this.canvas.style.width = `${width}px`;
    this.canvas.style.height = `${height}px`;
    const to = this.picture.getContext("2d")!;
    to.scale(ratio * this.scale, ratio * this.scale);
    const least = 1 / this.scale;
    const places = sheet.placesOf(placed.boxes);
    let fill = "";
    for (let b = 0; b < view.boxes.length; b++) {
      const color = coloring?.of(view.boxes[b]);
      const next = color ? css(color) : theme.families[view.boxes[b].family] ?? theme.quiet;
      if (next !== fill) to.fillStyle = fill = next;
      const [x, y, w, h] = places.subarray(4 * b, 4 * b + 4);
      to.fillRect(x, y, Math.max(w, least), Math.max(h, least));
    }
  }

  /** Draw it with what is seen; there is no need for it while all is seen. */
  draw(camera: Camera, sheet: Sheet, theme: Theme): void {
    const [left, top, right, bottom] = camera.seen;
    this.canvas.hidden = left <= 0 && top <= 0 && right >= sheet.width && bottom >= sheet.height;
    const to = this.canvas.getContext("2d")!;
    const ratio = devicePixelRatio || 1;
    to.setTransform(1, 0, 0, 1, 0, 0);
    to.clearRect(0, 0, this.canvas.width, this.canvas.height);
    to.drawImage(this.picture, 0, 0);
    const [x0, y0, x1, y1] = camera.seen.map((v) => v * this.scale * ratio);
    to.strokeStyle = theme.accent;
    to.lineWidth = 1.5 * ratio;
    to.strokeRect(x0, y0, Math.max(x1 - x0, 2), Math.max(y1 - y0, 2));
  }
}
