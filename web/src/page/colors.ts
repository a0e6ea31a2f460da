// Numbers to colors, by the tables that the Python side draws with: what is only positive by inferno, what has a sign by
// vik on a light page and berlin on a dark one, measures by viridis.

import tables from "colors:tables";
import { make } from "./dom.ts";

export type Rgb = [number, number, number];

const TOP = 255; // the last of a table's colors
const decoded = new Map<string, Uint8Array>();

function table(name: keyof typeof tables): Uint8Array {
  let found = decoded.get(name);
  if (!found) decoded.set(name, (found = Uint8Array.from(atob(tables[name]), (c) => c.charCodeAt(0))));
  return found;
}

function colorOf(name: keyof typeof tables, share: number): Rgb {
  const at = 3 * Math.round(Math.min(Math.max(share, 0), 1) * TOP);
  const colors = table(name);
  return [colors[at], colors[at + 1], colors[at + 2]];
}

/** The color of a measure's share, from 0 to 1. */
export const viridis = (share: number): Rgb => colorOf("viridis", share);

/** The color of an activation, from 0 to 1 between its limits; with a sign zero is at a half. */
export const activation = (share: number, signed: boolean, dark: boolean): Rgb =>
  colorOf(signed ? (dark ? "berlin" : "vik") : "inferno", share);

export const css = ([r, g, b]: Rgb): string => `rgb(${r} ${g} ${b})`;

/** Black or white, whichever is easier to read on a color. */
export function inkOn([r, g, b]: Rgb): string {
  const linear = (v: number): number => (v <= 10 ? v / 3294.6 : ((v / 255 + 0.055) / 1.055) ** 2.4);
  return 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b) > 0.179 ? "#000000" : "#ffffff";
}

/** A strip of the colors from one end of a scale to the other. */
export function strip(of: (share: number) => Rgb, width: number, said: string): HTMLCanvasElement {
  const canvas = make("canvas", { width, height: 10, role: "img", "aria-label": said });
  const to = canvas.getContext("2d")!;
  for (let x = 0; x < width; x++) {
    to.fillStyle = css(of(x / (width - 1)));
    to.fillRect(x, 0, 1, 10);
  }
  return canvas;
}
