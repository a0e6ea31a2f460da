// Drawing the map with a pen: less the smaller it is seen, and larger letters, so that a whole network can be read.

import { BAR, PICTURE, ROW, SIDE, bold } from "../map/boxes.ts";
import { LINE, TITLE } from "../map/lettering.ts";
import type { Box } from "../map/scene.ts";
import { css, inkOn } from "./colors.ts";
import type { Coloring } from "./measures.ts";
import type { Near } from "./near.ts";
import type { Pen } from "./pen.ts";
import { channels } from "./pictures.ts";
import type { Sheet } from "./sheet.ts";
import type { Stage, State } from "./state.ts";
import type { Theme } from "./theme.ts";

const READABLE = 7.5; // the size on screen, in points, below which text is not drawn
const LARGEST = 12; // the size on screen of a title that fills its box
const CLOSER = 1.3; // so much closer than planned letters may stand before some are left out
const FEWEST = 4; // letters of a title that still say something
const ROUND = 5;

export interface Look {
  stage: Stage;
  near: Near;
  sheet: Sheet;
  moving: Float64Array | null; // where boxes are on the sheet while something opens
  theme: Theme;
  scale: number;
  seen: [number, number, number, number]; // the part of the sheet that is on screen; of the map, inside a column
  coloring: Coloring | null;
  selected: number; // a box, or -1
  hovered: number;
  found: ReadonlySet<number>; // boxes that a search found
}

/** Draw everything that is on screen. */
export function paint(pen: Pen, state: State, look: Look): void {
  const { sheet, moving } = look;
  for (let c = 0; c < sheet.count; c++) {
    const [x, y, width, height] = sheet.part(c);
    const by = sheet.offset(c);
    const [x0, y0, x1, y1] = [look.seen[0] - by.x, look.seen[1] - by.y, look.seen[2] - by.x, look.seen[3] - by.y];
    if (x0 > x + width || y0 > y + height || x1 < x || y1 < y) continue;
    const seen: Look["seen"] = [Math.max(x0, x), Math.max(y0, y), Math.min(x1, x + width), Math.min(y1, y + height)];
    const within = { ...look, seen };
    if (c > 0) continued(pen, look, c);
    if (sheet.count === 1) column(pen, state, within);
    else pen.moved(by.x, by.y, [x, y, width, height], () => column(pen, state, within));
  }
  if (!moving) return;
  for (let b = 0; b < look.stage.view.boxes.length; b++) card(pen, state, look, b, moving);
}

function column(pen: Pen, state: State, look: Look): void {
  paintFrames(pen, look);
  if (look.moving) return frameTitles(pen, look);
  paintWires(pen, look);
  const boxes = look.near.boxesIn(...look.seen);
  if (look.scale < 0.06) for (const b of boxes) speck(pen, look, b);
  else for (const b of boxes) card(pen, state, look, b, look.stage.placed.boxes);
  if (look.scale > 0.3) paintFar(pen, look);
}

/** The names of the frames that go on at the top of a column. */
function continued(pen: Pen, { sheet, stage, theme, scale, near }: Look, c: number): void {
  const start = sheet.ends[c];
  const axis = sheet.down ? 1 : 0;
  const names: string[] = [];
  for (const f of near.framesIn(...([0, 0, 0, 0].map((_, i) => (i % 2 === axis ? start : sheet.across / 2)) as Look["seen"]))) {
    const at = stage.placed.frames[4 * f + axis];
    if (at < start && at + stage.placed.frames[4 * f + 2 + axis] > start) names.push(stage.view.frames[f].title);
  }
  const size = Math.min(Math.max(LINE, 9 / scale), 18);
  const by = sheet.offset(c);
  const [x, y, width] = sheet.part(c);
  if (names.length && size * scale >= READABLE) {
    pen.text(["…", ...names.slice(-2)].join(" › "), x + by.x + 4, y + by.y - 7, size, false, theme.quiet, width - 8);
  }
}

function paintFrames(pen: Pen, look: Look): void {
  const { theme, scale, near } = look;
  for (const f of near.framesIn(...look.seen)) {
    const [x, y, width, height] = look.stage.placed.frames.subarray(4 * f, 4 * f + 4);
    if (width * scale < 2) continue;
    pen.rect(x, y, width, height, ROUND + 2, theme.frames[(near.depth[f] - 1) % 4], theme.frame, Math.max(1, 0.6 / scale));
  }
}

/** Titles of frames lie over the wires that enter them. */
function frameTitles(pen: Pen, look: Look): void {
  const { near, theme, scale, stage } = look;
  if (scale < 0.25) return;
  for (const f of near.framesIn(...look.seen)) {
    const { title, count, width: needed } = stage.view.frames[f];
    const [x, y, width] = stage.placed.frames.subarray(4 * f, 4 * f + 3);
    const room = width - 16;
    const wanted = Math.min(Math.max(TITLE, 9 / scale), 19);
    const full = ((needed - 2 * SIDE) * wanted) / TITLE <= room;
    const words = full ? title : title.split(" · ")[0] + (count > 1 ? ` ×${count}` : ""); // the name alone, where there is no room for the kind
    const natural = full ? needed - 2 * SIDE : bold(words);
    const size = Math.min(wanted, Math.max(TITLE, (TITLE * room) / natural));
    if (size * scale < READABLE) continue;
    pen.label(words, x + 10, y + 4 + size, size, true, theme.quiet, theme.frames[(near.depth[f] - 1) % 4], width - 20);
  }
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

/** The shape of what flows, where it leaves its box. */
function shapes(pen: Pen, look: Look, wires: number[]): void {
  const { theme, scale, stage, near } = look;
  const { corners, first, direction } = stage.placed;
  if (LINE * scale < READABLE - 2) return;
  const size = Math.min(Math.max(9, 9 / scale), 14);
  const said = new Set<string>();
  for (const w of wires) {
    const { source, shape } = stage.view.wires[w];
    const at = first[w];
    if (!shape || at === first[w + 1] || said.has(`${source} ${shape}`)) continue;
    said.add(`${source} ${shape}`);
    const [x, y] = direction === "down" ? [7, size + 3] : [5, -5];
    const ground = theme.frames[(near.depth[stage.view.boxes[source].frame] + 3) % 4];
    pen.label(shape, corners[at] + x, corners[at + 1] + y, size, false, theme.quiet, ground, 400);
  }
}

/** Wires that are named rather than drawn: a tag at the upper edge of what takes them. */
function paintFar(pen: Pen, look: Look): void {
  const { theme, stage } = look;
  const { boxes } = stage.placed;
  const [x0, y0, x1, y1] = look.seen;
  const slots = new Map<number, number>();
  for (const w of look.near.far) {
    const wire = stage.view.wires[w];
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
  const [x, y, width, height] = look.stage.placed.boxes.subarray(4 * b, 4 * b + 4);
  const color = look.coloring?.of(look.stage.view.boxes[b]);
  const least = 0.8 / look.scale;
  const fill = color ? css(color) : look.theme.families[look.stage.view.boxes[b].family] ?? look.theme.quiet;
  pen.rect(x, y, Math.max(width, least), Math.max(height, least), 0, fill, null, 0);
}

function card(pen: Pen, state: State, look: Look, b: number, places: Float64Array): void {
  const box = look.stage.view.boxes[b];
  const { theme, scale } = look;
  const [x, y, width, height] = places.subarray(4 * b, 4 * b + 4);
  const color = look.coloring ? look.coloring.of(box) : null;
  const bar = color ? css(color) : look.coloring ? theme.frame : theme.families[box.family] ?? theme.quiet;
  const ink = color ? inkOn(color) : look.coloring ? theme.ink : theme.title;
  const small = LINE * scale < READABLE;
  const plain = box.pictured ? height - PICTURE : height;
  if (box.count > 1) stack(pen, look, x, y, width, height, bar);
  if (small || height <= BAR) pen.rect(x, y, width, plain, ROUND, bar, null, 0);
  else {
    pen.rect(x, y, width, height, ROUND, theme.card, null, 0);
    pen.bar(x, y, width, BAR, ROUND, bar);
  }
  if (small && box.pictured) pen.rect(x, y + plain, width, height - plain, 0, theme.card, null, 0);
  words(pen, look, box, x, y, width, plain, small, ink);
  if (box.pictured) thumbnails(pen, state, box, x, y + plain, width, theme.dark);
  const chosen = b === look.selected || b === look.hovered || look.found.has(b);
  const edge = chosen ? theme.accent : small || height <= BAR ? null : theme.rule;
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
  const fits = (TITLE * (width - 8)) / bold(box.title);
  const least = (READABLE - 0.5) / look.scale;
  const size = Math.min(Math.max(fits, least), height * 0.8, LARGEST / look.scale);
  const letters = Math.floor((box.title.length * CLOSER * fits) / size);
  const shown = letters >= box.title.length ? box.title : letters < FEWEST ? "" : `${box.title.slice(0, letters - 1)}…`;
  if (shown && size * look.scale >= READABLE - 1) pen.text(shown, x + width / 2, y + height / 2 + size * 0.36, size, true, ink, width - 4, true);
}

function thumbnails(pen: Pen, state: State, box: Box, x: number, y: number, width: number, dark: boolean): void {
  const picture = state.picture(box)!;
  const tall = PICTURE - 8;
  const wide = Math.min((tall * picture.width) / picture.height, width - 8);
  const fits = Math.max(1, Math.floor((width - 4) / (wide + 4)));
  const shown = channels(picture, dark).slice(0, fits);
  const left = x + (width - shown.length * (wide + 4) + 4) / 2;
  shown.forEach((canvas, i) => pen.image(canvas, left + i * (wide + 4), y + 4, wide, tall));
}
