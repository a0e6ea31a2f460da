// Drawing the map with a pen: less the smaller it is seen, and larger letters, so that a whole network can be read.

import { BAR, PICTURE, ROW, SIDE, bold } from "../map/boxes.ts";
import { FRAME_TITLE } from "../map/layered.ts";
import { LINE, TITLE } from "../map/lettering.ts";
import type { Box } from "../map/scene.ts";
import type { Coloring } from "./measures.ts";
import type { Near } from "./near.ts";
import type { Pen } from "./pen.ts";
import { channels } from "./pictures.ts";
import type { Stage, State } from "./state.ts";
import { itemOf } from "./state.ts";
import { type Theme, css, inkOn } from "./theme.ts";

const READABLE = 7.5; // the size on screen, in points, below which text is not drawn
const LARGEST = 30; // the size of a title that fills its box
const ROUND = 5;

export interface Look {
  stage: Stage;
  near: Near;
  boxes: Float64Array; // where boxes and frames are now: while something opens, on their way
  frames: Float64Array;
  arrived: number; // from 0 to 1: how far they are
  theme: Theme;
  scale: number;
  seen: [number, number, number, number]; // the part of the map that is on screen
  coloring: Coloring | null;
  selected: number; // a box, or -1
  hovered: number;
  found: ReadonlySet<number>; // boxes that a search found
}

/** Draw everything that is on screen. */
export function paint(pen: Pen, state: State, look: Look): void {
  const moving = look.arrived < 1;
  const boxes = moving ? [...look.stage.view.boxes.keys()] : look.near.boxesIn(...look.seen);
  paintFrames(pen, look);
  if (!moving) paintWires(pen, look);
  if (look.scale < 0.06) for (const b of boxes) speck(pen, look, b);
  else for (const b of boxes) card(pen, state, look, b);
  if (!moving && look.scale > 0.3) paintFar(pen, look);
}

function paintFrames(pen: Pen, look: Look): void {
  const { frames } = look.stage.view;
  const { theme, scale } = look;
  const [x0, y0, x1, y1] = look.seen;
  const depth = new Int32Array(frames.length);
  for (let f = 1; f < frames.length; f++) {
    depth[f] = depth[frames[f].parent] + 1;
    const [x, y, width, height] = look.frames.subarray(4 * f, 4 * f + 4);
    if (x > x1 || y > y1 || x + width < x0 || y + height < y0 || width * scale < 1) continue;
    pen.rect(x, y, width, height, ROUND + 2, theme.frames[(depth[f] - 1) % 4], theme.frame, Math.max(1, 0.6 / scale));
  }
}

/** Titles of frames lie over the wires that enter them. */
function frameTitles(pen: Pen, look: Look): void {
  const { frames } = look.stage.view;
  const [x0, y0, x1, y1] = look.seen;
  for (let f = 1; f < frames.length; f++) {
    const [x, y, width, height] = look.frames.subarray(4 * f, 4 * f + 4);
    if (x > x1 || y > y1 || x + width < x0 || y + height < y0) continue;
    const natural = frames[f].width - 2 * SIDE;
    const size = Math.min(TITLE * Math.max(1, Math.min(9 / (TITLE * look.scale), (width - 16) / natural)), 19);
    if (size * look.scale < READABLE) continue;
    const wide = (natural * size) / TITLE;
    pen.rect(x + 5, y + 3, Math.min(wide + 12, width - 10), size + 7, 4, look.theme.frames[(depthOf(look, f) - 1) % 4], null, 0);
    pen.text(frames[f].title, x + 10, y + 4 + size, size, true, look.theme.quiet, width - 20);
  }
}

function depthOf(look: Look, f: number): number {
  let depth = 0;
  for (let g = f; g > 0; g = look.stage.view.frames[g].parent) depth++;
  return depth;
}

function paintWires(pen: Pen, look: Look): void {
  const { theme, scale, stage } = look;
  const { corners, first, direction } = stage.placed;
  const down = direction === "down";
  const focus = look.hovered >= 0 ? look.hovered : look.selected;
  const plain: [number, number][] = [];
  const strong: number[] = [];
  const near = look.near.wiresIn(...look.seen);
  for (const w of near) {
    const wire = stage.view.wires[w];
    if (focus >= 0 && (wire.source === focus || wire.target === focus)) strong.push(w);
    else plain.push([first[w], first[w + 1]]);
  }
  const line = Math.max(1.2, 0.7 / scale);
  pen.wires(plain, corners, down, theme.wire, line);
  frameTitles(pen, look);
  pen.wires(strong.map((w) => [first[w], first[w + 1]]), corners, down, theme.accent, 1.8 * line);
  if (scale > 0.25) {
    for (const w of near) {
      const end = first[w + 1];
      pen.arrow(corners[end - 2], corners[end - 1], down, 6, strong.includes(w) ? theme.accent : theme.wire);
    }
  }
  shapes(pen, look, scale > 1.1 ? near : strong);
}

/** The shape of what flows, beside the end of its wire. */
function shapes(pen: Pen, look: Look, wires: number[]): void {
  const { theme, scale, stage } = look;
  const { corners, first, direction } = stage.placed;
  if (LINE * scale < READABLE - 2) return;
  const size = Math.min(Math.max(9, 9 / scale), 14);
  for (const w of wires) {
    const { shape, count } = stage.view.wires[w];
    const end = first[w + 1];
    if (!shape || end === first[w]) continue;
    const text = count > 1 ? `${shape} and ${count - 1} more` : shape;
    const x = corners[end - 2] + (direction === "down" ? 7 : -8);
    const y = corners[end - 1] + (direction === "down" ? -8 : -6);
    const wide = text.length * size * 0.56;
    const left = direction === "down" ? x : x - wide;
    pen.rect(left - 2, y - size, wide + 4, size + 3, 3, theme.page, null, 0);
    pen.text(text, left, y, size, false, theme.quiet, wide);
  }
}

/** Wires that are named rather than drawn: a tag at the upper edge of what takes them. */
function paintFar(pen: Pen, look: Look): void {
  const { theme, stage } = look;
  const { boxes } = stage.placed;
  const [x0, y0, x1, y1] = look.seen;
  const slots = new Map<number, number>();
  for (const wire of stage.view.wires) {
    if (!wire.far) continue;
    const [x, y, width] = boxes.subarray(4 * wire.target, 4 * wire.target + 3);
    if (x > x1 || y > y1 || x + width < x0 || y + 30 < y0) continue;
    const slot = slots.get(wire.target) ?? 0;
    slots.set(wire.target, slot + 1);
    const text = stage.view.boxes[wire.source].title;
    const wide = Math.min(text.length * 5 + 10, width - 6);
    pen.rect(x + 3, y - 9 - 12 * slot, wide, 11, 5.5, theme.accent, null, 0);
    pen.text(text, x + 8, y - 1 - 12 * slot, 8.5, true, theme.title, wide - 10);
  }
}

/** A box too small to be more than a spot of color. */
function speck(pen: Pen, look: Look, b: number): void {
  const [x, y, width, height] = look.boxes.subarray(4 * b, 4 * b + 4);
  const color = look.coloring?.of(look.stage.view.boxes[b]);
  const least = 0.8 / look.scale;
  const fill = color ? css(color) : look.theme.families[look.stage.view.boxes[b].family] ?? look.theme.quiet;
  pen.rect(x, y, Math.max(width, least), Math.max(height, least), 0, fill, null, 0);
}

function card(pen: Pen, state: State, look: Look, b: number): void {
  const box = look.stage.view.boxes[b];
  const { theme, scale } = look;
  const [x, y, width, height] = look.boxes.subarray(4 * b, 4 * b + 4);
  const color = look.coloring ? look.coloring.of(box) : null;
  const bar = color ? css(color) : look.coloring ? theme.frame : theme.families[box.family] ?? theme.quiet;
  const ink = color ? inkOn(color) : look.coloring ? theme.ink : theme.title;
  const small = LINE * scale < READABLE;
  const plain = box.pictured ? height - PICTURE : height;
  if (box.count > 1) stack(pen, look, x, y, width, height, bar);
  if (small) pen.rect(x, y, width, plain, ROUND, bar, null, 0);
  else {
    pen.rect(x, y, width, height, ROUND, theme.card, null, 0);
    pen.bar(x, y, width, Math.min(BAR, height), height > BAR ? ROUND : 0, bar);
  }
  if (small && box.pictured) pen.rect(x, y + plain, width, height - plain, 0, theme.card, null, 0);
  words(pen, look, box, x, y, width, plain, small, ink);
  if (box.pictured) thumbnails(pen, state, box, x, y + plain, width);
  const chosen = b === look.selected || b === look.hovered || look.found.has(b);
  const edge = chosen ? theme.accent : small ? null : theme.rule;
  if (edge) pen.rect(x, y, width, height, ROUND, null, edge, chosen ? Math.max(2, 2 / scale) : 1);
}

/** The cards behind the first of a run. */
function stack(pen: Pen, look: Look, x: number, y: number, width: number, height: number, bar: string): void {
  for (const k of [2, 1]) {
    pen.rect(x + 3 * k, y + 3 * k, width, height, ROUND, look.theme.card, bar, Math.max(0.8, 0.5 / look.scale));
  }
}

function words(pen: Pen, look: Look, box: Box, x: number, y: number, width: number, height: number, small: boolean, ink: string): void {
  if (!small) {
    pen.text(box.title, x + SIDE, y + 15, TITLE, true, ink, width - 2 * SIDE + 4);
    box.lines.forEach((line, i) => pen.text(line, x + SIDE, y + BAR + 13 + ROW * i, LINE, false, look.theme.quiet, width - 2 * SIDE + 4));
    return;
  }
  const size = Math.min((TITLE * (width - 8)) / bold(box.title), height * 0.8, LARGEST);
  if (size * look.scale >= READABLE - 1) pen.text(box.title, x + width / 2, y + height / 2 + size * 0.36, size, true, ink, width - 4, true);
}

function thumbnails(pen: Pen, state: State, box: Box, x: number, y: number, width: number): void {
  const picture = state.graph.overlay!.pictures[state.pictures.get(itemOf(box))!];
  const tall = PICTURE - 8;
  const wide = Math.min((tall * picture.width) / picture.height, width - 8);
  const fits = Math.max(1, Math.floor((width - 4) / (wide + 4)));
  const shown = channels(picture).slice(0, fits);
  const left = x + (width - shown.length * (wide + 4) + 4) / 2;
  shown.forEach((canvas, i) => pen.image(canvas, left + i * (wide + 4), y + 4, wide, tall));
}

export { FRAME_TITLE };
