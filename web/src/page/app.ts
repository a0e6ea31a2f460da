// The page: state, stage and screen, and everything that can be done.

import type { Graph, Measure } from "../map/graph.ts";
import { arrange } from "./arrange.ts";
import { Camera, type Place } from "./camera.ts";
import { savePng, saveSvg } from "./export.ts";
import { Inspector } from "./inspector.ts";
import { legend } from "./legend.ts";
import { type Coloring, coloring, measuresOf } from "./measures.ts";
import { Minimap } from "./minimap.ts";
import { type Motion, DURATION, between, eased, motion } from "./motion.ts";
import { Near } from "./near.ts";
import { FRAME_TITLE, type Look, paint } from "./paint.ts";
import { CanvasPen } from "./pen.ts";
import { follow } from "./pointer.ts";
import { Search } from "./search.ts";
import { type Shell, shell } from "./shell.ts";
import { type Item, type Stage, State, itemOf } from "./state.ts";
import { type Theme, themeOf } from "./theme.ts";
import { Tree } from "./tree.ts";
import { type Way, step } from "./walk.ts";

const BLANK: Stage = {
  view: { boxes: [], frames: [], wires: [], boxOf: () => -1 },
  placed: {
    direction: "down", boxes: new Float64Array(), frames: new Float64Array(), corners: new Float64Array(),
    first: new Uint32Array(1), width: 1, height: 1, steps: 0,
  },
};

export class App {
  readonly state: State;
  readonly shell: Shell;
  readonly camera = new Camera();
  stage = BLANK;
  selected = -1;
  hovered = -1;
  private readonly measures: Map<string, Measure>;
  private readonly inspector: Inspector;
  private readonly minimap: Minimap;
  private readonly search: Search;
  private theme: Theme;
  private near = new Near(BLANK);
  private moving: Motion | null = null;
  private colorBy = "";
  private coloring: Coloring | null = null;
  private found = new Set<number>();
  private drawing = false;
  private round = 0; // counts changes of the scene, so that a late layout of an older one is dropped

  constructor(graph: Graph, into: HTMLElement) {
    this.state = new State(graph);
    this.measures = measuresOf(graph);
    const scheme = matchMedia("(prefers-color-scheme: dark)");
    this.theme = themeOf(scheme.matches);
    scheme.addEventListener("change", () => this.wear(scheme.matches));
    this.shell = shell(this.state, this.measures, {
      fit: () => this.fit(),
      zoom: (factor) => this.zoom(factor),
      turn: () => this.turn(),
      theme: () => this.wear(!this.theme.dark),
      tree: () => this.toggleTree(),
      help: () => this.shell.help.showModal(),
      restart: () => this.change(() => this.state.restart(), true),
      openAll: () => this.change(() => this.state.openAll(), true),
      closeAll: () => this.change(() => this.state.closeAll(), true),
      png: () => savePng(this.state, this.look(), this.camera),
      svg: () => saveSvg(this.state, this.look()),
      color: (name) => this.color(name),
    });
    into.append(this.shell.root);
    const { canvas, tree, search, found, status } = this.shell;
    this.inspector = new Inspector(this.shell.inspector, this.state, this.measures, {
      select: (b) => this.select(b, true),
      toggle: (b) => this.toggle(b),
      unfold: (group) => this.change(() => (this.state.unfold(group), this.state.close(group)), false, ~group),
      leave: () => this.select(-1),
    });
    this.minimap = new Minimap(this.shell.minimap, (to) => this.centerOn(to));
    this.search = new Search(graph, search, found, status, (item) => this.goTo(item));
    new Tree(tree, this.state, (item) => this.goTo(item, false));
    follow(canvas, this.camera, {
      press: (at) => this.press(at),
      hover: (at) => this.hover(at),
      changed: () => this.draw(),
    });
    document.addEventListener("keydown", (event) => this.key(event));
    this.wear(this.theme.dark);
    new ResizeObserver(() => this.resize()).observe(this.shell.stage);
  }

  /** Show the network whole for the first time. */
  async begin(): Promise<void> {
    this.resize();
    await this.change(() => undefined, true);
  }

  private look(): Look {
    const now = performance.now();
    const { placed } = this.stage;
    const arrived = this.moving ? eased(this.moving, now) : 1;
    if (arrived >= 1) this.moving = null;
    return {
      stage: this.stage,
      near: this.near,
      boxes: this.moving ? between(this.moving.fromBoxes, placed.boxes, arrived) : placed.boxes,
      frames: this.moving ? between(this.moving.fromFrames, placed.frames, arrived) : placed.frames,
      arrived,
      theme: this.theme,
      scale: this.camera.scale,
      seen: this.camera.seen,
      coloring: this.coloring,
      selected: this.selected,
      hovered: this.hovered,
      found: this.found,
    };
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

  private render(): void {
    const { canvas } = this.shell;
    const ratio = devicePixelRatio || 1;
    const to = canvas.getContext("2d", { alpha: false })!;
    to.setTransform(1, 0, 0, 1, 0, 0);
    to.fillStyle = this.theme.page;
    to.fillRect(0, 0, canvas.width, canvas.height);
    const { scale, x, y } = this.camera;
    to.setTransform(scale * ratio, 0, 0, scale * ratio, x * ratio, y * ratio);
    paint(new CanvasPen(to), this.state, this.look());
    this.minimap.draw(this.camera, this.theme);
  }

  /** Change what is open; the map moves there, and an item that is given stays where it is on the screen. */
  async change(deed: () => void, fit: boolean, keep?: Item): Promise<void> {
    const round = ++this.round;
    const held = keep === undefined ? null : this.placeOf(keep);
    const kept = this.selected < 0 ? null : itemOf(this.stage.view.boxes[this.selected]);
    deed();
    const view = this.state.scene();
    const placed = await arrange(view, this.state.direction);
    if (round !== this.round) return;
    const before = this.stage;
    this.stage = { view, placed };
    this.near = new Near(this.stage);
    this.moving = before === BLANK ? null : motion(this.state, before, this.stage, performance.now());
    this.hovered = -1;
    this.found = new Set(this.search.found.map((item) => this.state.boxOf(view, item)).filter((b) => b >= 0));
    this.select(kept === null ? -1 : this.state.boxOf(view, kept));
    const now = keep === undefined ? null : this.placeOf(keep);
    if (fit) this.fit();
    else if (held && now) this.shift(held, now);
    this.repaint();
  }

  /** Move the camera so that what was at one place of the map is where it was on the screen. */
  private shift(held: Place, now: Place): void {
    this.camera.x += (held.x - now.x) * this.camera.scale;
    this.camera.y += (held.y - now.y) * this.camera.scale;
  }

  /** The upper middle of an item's box or frame. */
  private placeOf(item: Item): Place | null {
    const { view, placed } = this.stage;
    const f = item < 0 ? view.frames.findIndex((frame) => frame.group === ~item) : -1;
    const [rects, at] = f > 0 ? [placed.frames, f] : [placed.boxes, this.state.boxOf(view, item)];
    return at < 0 ? null : { x: rects[4 * at] + rects[4 * at + 2] / 2, y: rects[4 * at + 1] };
  }

  private repaint(): void {
    const { view } = this.stage;
    const measure = this.measures.get(this.colorBy);
    this.coloring = measure ? coloring(this.colorBy, measure, this.state.tree, view.boxes) : null;
    this.minimap.take(this.stage, this.theme, this.coloring);
    legend(this.shell.legend, view.boxes, this.coloring, this.theme);
    this.shell.canvas.setAttribute("aria-label", `${view.boxes.length} boxes. Arrow keys go along the network; the tree lists everything.`);
    this.shell.root.dataset["boxes"] = String(view.boxes.length);
    this.draw();
  }

  toggle(b: number): void {
    const box = this.stage.view.boxes[b];
    if (!this.state.canOpen(box)) return;
    void this.change(() => this.state.open(box.index), false, ~box.index);
  }

  private closeFrame(f: number): void {
    const { group } = this.stage.view.frames[f];
    void this.change(() => this.state.close(group), false, ~group);
  }

  select(b: number, show = false): void {
    this.selected = b;
    const { view, placed } = this.stage;
    this.inspector.show(view, b);
    if (b >= 0) {
      const box = view.boxes[b];
      this.shell.status.textContent = `${box.title}, ${this.state.pathOf(box) || "outermost"}`;
      if (show) this.camera.show(placed.boxes[4 * b], placed.boxes[4 * b + 1], placed.boxes[4 * b + 2], placed.boxes[4 * b + 3]);
    }
    this.draw();
  }

  /** Open what hides an item, select it and bring it into view. */
  async goTo(item: Item, focus = true): Promise<void> {
    const hidden = this.state.boxOf(this.stage.view, item);
    const box = this.stage.view.boxes[hidden];
    if (!box || itemOf(box) !== item) await this.change(() => this.state.reveal(item), false);
    const f = item < 0 ? this.stage.view.frames.findIndex((frame) => frame.group === ~item) : -1;
    const b = this.state.boxOf(this.stage.view, item);
    if (f > 0) {
      const [x, y, width, height] = this.stage.placed.frames.subarray(4 * f, 4 * f + 4);
      this.camera.fit(x, y, width, height);
    }
    this.moving = null;
    this.select(b, f <= 0);
    if (focus) this.shell.canvas.focus();
  }

  private press(at: Place): void {
    const { x, y } = this.camera.toMap(at);
    const b = this.near.boxAt(x, y);
    this.shell.canvas.focus();
    if (b >= 0) {
      this.select(b);
      return this.toggle(b);
    }
    const f = this.near.titleAt(x, y, Math.max(FRAME_TITLE, 14 / this.camera.scale));
    if (f > 0) this.closeFrame(f);
    else this.select(-1);
  }

  private hover(at: Place | null): void {
    const { tip, canvas } = this.shell;
    const place = at ? this.camera.toMap(at) : null;
    const b = place ? this.near.boxAt(place.x, place.y) : -1;
    const title = place && b < 0 ? this.near.titleAt(place.x, place.y, Math.max(FRAME_TITLE, 14 / this.camera.scale)) : -1;
    canvas.classList.toggle("press", b >= 0 || title > 0);
    if (at && b >= 0) {
      const box = this.stage.view.boxes[b];
      tip.textContent = [box.title, this.state.pathOf(box), ...box.lines.slice(1)].filter(Boolean).join("\n");
      tip.style.left = `${Math.min(at.x + 14, this.camera.width - 240)}px`;
      tip.style.top = `${at.y + 18}px`;
    }
    tip.hidden = b < 0;
    if (b === this.hovered) return;
    this.hovered = b;
    this.draw();
  }

  private key(event: KeyboardEvent): void {
    const target = event.target as HTMLElement;
    if (event.ctrlKey || event.metaKey || event.altKey || target.closest("input, select, dialog, [role=tree]")) return;
    const down = this.state.direction === "down";
    const ways: Record<string, Way> = down
      ? { ArrowDown: "on", ArrowUp: "back", ArrowLeft: "left", ArrowRight: "right" }
      : { ArrowRight: "on", ArrowLeft: "back", ArrowUp: "left", ArrowDown: "right" };
    const way = ways[event.key];
    const press = target.closest("button, summary") && ["Enter", " "].includes(event.key);
    const deed = way ? () => this.walk(way) : press ? undefined : this.deeds[event.key];
    if (!deed) return;
    event.preventDefault();
    deed();
  }

  private readonly deeds: Record<string, () => void> = {
    Enter: () => this.selected >= 0 && this.toggle(this.selected),
    Backspace: () => this.closeAround(),
    Escape: () => this.select(-1),
    "/": () => this.shell.search.focus(),
    "[": () => this.search.step(-1),
    "]": () => this.search.step(1),
    f: () => this.fit(),
    F: () => this.fit(),
    "+": () => this.zoom(1.4),
    "=": () => this.zoom(1.4),
    "-": () => this.zoom(1 / 1.4),
    "?": () => this.shell.help.showModal(),
  };

  private walk(way: Way): void {
    const next = step(this.stage, this.selected, way);
    if (next >= 0) this.select(next, true);
  }

  private closeAround(): void {
    if (this.selected < 0) return;
    const frame = this.stage.view.boxes[this.selected].frame;
    if (frame > 0) this.closeFrame(frame);
  }

  fit(): void {
    this.camera.fit(0, 0, this.stage.placed.width, this.stage.placed.height);
    this.draw();
  }

  private zoom(factor: number): void {
    this.camera.zoom(factor, { x: this.camera.width / 2, y: this.camera.height / 2 });
    this.draw();
  }

  private centerOn(to: Place): void {
    this.camera.x = this.camera.width / 2 - to.x * this.camera.scale;
    this.camera.y = this.camera.height / 2 - to.y * this.camera.scale;
    this.draw();
  }

  private turn(): void {
    void this.change(() => (this.state.direction = this.state.direction === "down" ? "right" : "down"), true);
  }

  private toggleTree(): void {
    if (!this.shell.treePanel.classList.toggle("away")) this.shell.tree.querySelector<HTMLElement>("[tabindex='0']")?.focus();
  }

  private color(name: string): void {
    this.colorBy = name;
    this.repaint();
  }

  private wear(dark: boolean): void {
    this.theme = themeOf(dark);
    document.documentElement.dataset["theme"] = dark ? "dark" : "light";
    this.repaint();
  }

  private resize(): void {
    const { stage, canvas } = this.shell;
    const ratio = devicePixelRatio || 1;
    const first = this.camera.width === 1;
    const [dx, dy] = [stage.clientWidth - this.camera.width, stage.clientHeight - this.camera.height];
    this.camera.width = stage.clientWidth;
    this.camera.height = stage.clientHeight;
    canvas.width = Math.round(stage.clientWidth * ratio);
    canvas.height = Math.round(stage.clientHeight * ratio);
    if (!first) {
      this.camera.x += dx / 2;
      this.camera.y += dy / 2;
    }
    this.render();
  }
}

export { DURATION };
