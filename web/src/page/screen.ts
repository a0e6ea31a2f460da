// The canvas: what is on it, from where it is seen, and when it is drawn anew.

import type { View } from "../map/scene.ts";
import { Camera, type Place } from "./camera.ts";
import type { Coloring } from "./measures.ts";
import { Minimap } from "./minimap.ts";
import { type Motion, between, eased, motion } from "./motion.ts";
import { Near } from "./near.ts";
import { type Look, paint } from "./paint.ts";
import { CanvasPen } from "./pen.ts";
import { Sheet } from "./sheet.ts";
import type { Shell } from "./shell.ts";
import type { Item, Stage, State } from "./state.ts";
import { type Theme, themeOf } from "./theme.ts";

const NOTHING: View = { boxes: [], frames: [], wires: [], boxOf: () => -1 };
const NOWHERE: Stage["placed"] = {
  direction: "down", boxes: new Float64Array(), frames: new Float64Array(), corners: new Float64Array(),
  first: new Uint32Array(1), width: 1, height: 1, steps: 0,
};

const SLOW = 40; // milliseconds of one picture above which moving shows the last one moved
const REST = 140; // milliseconds without a move after which it is drawn anew
const PAPER = { width: 1000, height: 1250 }; // of a printed page, in pixels in which letters have the sizes they have on screen

export class Screen {
  readonly camera = new Camera();
  stage: Stage = { view: NOTHING, placed: NOWHERE };
  sheet = Sheet.of(this.stage, 1, 1, false);
  near = new Near(this.stage);
  theme: Theme = themeOf(false);
  coloring: Coloring | null = null;
  folded = true;
  selected = -1;
  hovered = -1;
  found: ReadonlySet<number> = new Set();
  private moving: Motion | null = null;
  private drawing = false;
  private cost = 0; // of the last picture, in milliseconds
  private readonly last = { picture: document.createElement("canvas"), scale: 1, x: 0, y: 0 };
  private resting = 0;
  private whole = false; // is all of the map on screen, and should stay there?
  private readonly minimap: Minimap;

  constructor(private readonly state: State, private readonly shell: Shell) {
    this.minimap = new Minimap(shell.minimap, (to) => this.centerOn(to));
    this.resize();
    new ResizeObserver(() => this.resize()).observe(shell.stage);
  }

  /** Put another stage on the screen, in motion from the one before where that is wanted. */
  take(stage: Stage): void {
    const { stage: before, sheet: was } = this;
    this.stage = stage;
    this.sheet = Sheet.of(stage, this.camera.width, this.camera.height, this.folded);
    this.near = new Near(stage);
    this.hovered = -1;
    const first = !before.view.boxes.length;
    this.moving = first ? null : motion(this.state, before, was, stage, this.sheet, performance.now());
  }

  still(): void {
    this.moving = null;
  }

  look(): Look {
    const { stage, near, sheet, theme, coloring, selected, hovered, found, camera } = this;
    const share = this.moving ? eased(this.moving, performance.now()) : 1;
    if (share >= 1) this.moving = null;
    const moving = this.moving ? between(this.moving, share) : null;
    return { stage, near, sheet, moving, theme, coloring, selected, hovered, found, scale: camera.scale, seen: camera.seen };
  }

  /** What is printed, dark on light: all of the map in columns for a page where all of it is seen, else what is seen. */
  onPaper(): Look {
    const { stage, camera, whole, folded } = this;
    const sheet = whole ? Sheet.of(stage, PAPER.width, PAPER.height, folded) : this.sheet;
    const seen: Look["seen"] = whole ? [0, 0, sheet.width, sheet.height] : camera.seen;
    const scale = Math.min(PAPER.width / (seen[2] - seen[0]), PAPER.height / (seen[3] - seen[1]), Math.max(camera.scale, 1));
    return { ...this.look(), sheet, seen, scale, theme: themeOf(false), moving: null, selected: -1, hovered: -1, found: new Set() };
  }

  /** Ask for a new picture, once for each frame of the screen. */
  draw(): void {
    if (this.drawing) return;
    this.drawing = true;
    requestAnimationFrame(() => {
      this.drawing = false;
      this.render();
      if (this.moving) this.draw();
    });
  }

  /** Does a picture take so long that none is drawn for a mere hover? */
  get slow(): boolean {
    return this.cost > SLOW;
  }

  /** The camera moved: draw anew, or where that is slow first move the last picture. */
  glide(): void {
    this.whole = false;
    if (!this.slow) return this.draw();
    if (!this.resting) this.keep();
    clearTimeout(this.resting);
    this.resting = window.setTimeout(() => {
      this.resting = 0;
      this.draw();
    }, REST);
    requestAnimationFrame(() => this.resting && this.shift());
  }

  render(): void {
    const began = performance.now();
    const to = this.blank();
    const ratio = devicePixelRatio || 1;
    const { scale, x, y } = this.camera;
    to.setTransform(scale * ratio, 0, 0, scale * ratio, x * ratio, y * ratio);
    paint(new CanvasPen(to), this.state, this.look());
    this.minimap.draw(this.camera, this.sheet, this.theme);
    Object.assign(this.last, { scale, x, y });
    this.cost = performance.now() - began;
  }

  private blank(): CanvasRenderingContext2D {
    const { canvas } = this.shell;
    const to = canvas.getContext("2d", { alpha: false })!;
    to.setTransform(1, 0, 0, 1, 0, 0);
    to.fillStyle = this.theme.page;
    to.fillRect(0, 0, canvas.width, canvas.height);
    return to;
  }

  private keep(): void {
    const { canvas } = this.shell;
    const { picture } = this.last;
    picture.width = canvas.width;
    picture.height = canvas.height;
    picture.getContext("2d")!.drawImage(canvas, 0, 0);
  }

  private shift(): void {
    const { picture, scale, x, y } = this.last;
    const by = this.camera.scale / scale;
    const ratio = devicePixelRatio || 1;
    const to = this.blank();
    to.setTransform(by, 0, 0, by, (this.camera.x - x * by) * ratio, (this.camera.y - y * by) * ratio);
    to.drawImage(picture, 0, 0);
    this.minimap.draw(this.camera, this.sheet, this.theme);
  }

  /** Draw the small map anew: after a change of what it shows. */
  survey(): void {
    this.minimap.take(this.stage, this.sheet, this.theme, this.coloring);
    this.draw();
  }

  /** A place on the screen as one of the map. */
  toMap(at: Place): Place {
    return this.sheet.toMap(this.camera.toMap(at));
  }

  /** The upper middle of an item's box or frame, on the sheet. */
  placeOf(item: Item): Place | null {
    const { view, placed } = this.stage;
    const f = this.frameOf(item);
    const [rects, at] = f > 0 ? [placed.frames, f] : [placed.boxes, this.state.boxOf(view, item)];
    if (at < 0) return null;
    const { x, y } = this.sheet.toSheet(rects[4 * at], rects[4 * at + 1]);
    return { x: x + rects[4 * at + 2] / 2, y };
  }

  /** The frame of an open group, or -1. */
  frameOf(item: Item): number {
    return item < 0 ? this.stage.view.frames.findIndex((frame) => frame.group === ~item) : -1;
  }

  /** Bring a box into view. */
  show(b: number): void {
    this.whole = false;
    const [x, y, width, height] = this.sheet.around(this.stage.placed.boxes.subarray(4 * b, 4 * b + 4));
    this.camera.show(x, y, width, height);
  }

  /** Show a frame whole. */
  showFrame(f: number): void {
    this.whole = false;
    this.camera.fit(...this.sheet.around(this.stage.placed.frames.subarray(4 * f, 4 * f + 4)));
  }

  fit(): void {
    this.whole = true;
    this.camera.below = this.shell.legend.offsetHeight + 12;
    this.camera.fit(0, 0, this.sheet.width, this.sheet.height);
    this.draw();
  }

  zoom(factor: number): void {
    this.whole = false;
    this.camera.zoom(factor, { x: this.camera.width / 2, y: this.camera.height / 2 });
    this.draw();
  }

  private centerOn(to: Place): void {
    this.whole = false;
    this.camera.x = this.camera.width / 2 - to.x * this.camera.scale;
    this.camera.y = this.camera.height / 2 - to.y * this.camera.scale;
    this.draw();
  }

  private resize(): void {
    const { stage, canvas } = this.shell;
    const { camera } = this;
    const { clientWidth, clientHeight } = stage;
    if (this.shell.paper.firstChild) return; // the size of the paper is none of the screen
    const ratio = devicePixelRatio || 1;
    const [width, height] = [Math.round(clientWidth * ratio), Math.round(clientHeight * ratio)];
    if (width === canvas.width && height === canvas.height) return; // an observer tells what it sees at first, too
    camera.x += (clientWidth - camera.width) / 2;
    camera.y += (clientHeight - camera.height) / 2;
    camera.width = clientWidth;
    camera.height = clientHeight;
    canvas.width = width;
    canvas.height = height;
    if (this.stage.view === NOTHING) return;
    if (this.whole) {
      this.sheet = Sheet.of(this.stage, camera.width, camera.height, this.folded);
      this.survey();
      this.fit();
    }
    this.render();
  }
}
