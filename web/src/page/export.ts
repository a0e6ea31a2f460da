// What is seen, as a file: PNG at twice the size of the screen, or SVG.

import type { Camera } from "./camera.ts";
import { CanvasPen, SvgPen } from "./pen.ts";
import { type Look, paint } from "./paint.ts";
import type { State } from "./state.ts";

const FINE = 2;

function save(blob: Blob, name: string): void {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

/** A name that every system takes as the name of a file. */
const plain = (name: string): string => name.replace(/[^\p{L}\p{N}._-]+/gu, "_").slice(0, 60) || "map";

export function savePng(state: State, look: Look, camera: Camera): void {
  const canvas = document.createElement("canvas");
  canvas.width = camera.width * FINE;
  canvas.height = camera.height * FINE;
  const to = canvas.getContext("2d")!;
  to.fillStyle = look.theme.page;
  to.fillRect(0, 0, canvas.width, canvas.height);
  to.setTransform(camera.scale * FINE, 0, 0, camera.scale * FINE, camera.x * FINE, camera.y * FINE);
  paint(new CanvasPen(to), state, look);
  canvas.toBlob((blob) => blob && save(blob, `${plain(state.graph.name)}.png`));
}

export function saveSvg(state: State, look: Look): void {
  const text = new XMLSerializer().serializeToString(svgOf(state, look));
  save(new Blob([text], { type: "image/svg+xml" }), `${plain(state.graph.name)}.svg`);
}

/** The part of the map that is on screen, cut to the sheet itself. */
export function svgOf(state: State, look: Look): SVGSVGElement {
  const { width, height } = look.sheet;
  const x0 = Math.max(look.seen[0], 0);
  const y0 = Math.max(look.seen[1], 0);
  const x1 = Math.min(look.seen[2], width);
  const y1 = Math.min(look.seen[3], height);
  const pen = new SvgPen([x0, y0, Math.max(x1 - x0, 1), Math.max(y1 - y0, 1)], look.theme.page);
  paint(pen, state, look);
  return pen.root;
}
