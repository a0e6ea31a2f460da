// The page: everything that can be done with it.

import type { Graph } from "../map/graph.ts";
import { FRAME_TITLE } from "../map/layered.ts";
import { TALL, WIDE } from "../map/shelves.ts";
import { arrange } from "./arrange.ts";
import type { Place } from "./camera.ts";
import { savePng, saveSvg } from "./export.ts";
import { Inspector } from "./inspector.ts";
import { legend } from "./legend.ts";
import { type Shown, coloring, measuresOf } from "./measures.ts";
import { onPrint } from "./paper.ts";
import { follow } from "./pointer.ts";
import { Screen } from "./screen.ts";
import { Search } from "./search.ts";
import { type Shell, shell } from "./shell.ts";
import { type Item, State, itemOf } from "./state.ts";
import { themeOf } from "./theme.ts";
import { beside } from "./tip.ts";
import { Tree } from "./tree.ts";
import { type Way, modified, step } from "./walk.ts";

const WAYS: Record<"down" | "right", Record<string, Way>> = {
  down: { ArrowDown: "on", ArrowUp: "back", ArrowLeft: "left", ArrowRight: "right" },
  right: { ArrowRight: "on", ArrowLeft: "back", ArrowUp: "left", ArrowDown: "right" },
};

export class App {
  private readonly state: State;
  private readonly shell: Shell;
  private readonly screen: Screen;
  private readonly measures: Map<string, Shown>;
  private readonly inspector: Inspector;
  private readonly search: Search;
  private colorBy = "";
  private round = 0; // counts changes of the scene, so that a late layout of an older one is dropped

  constructor(graph: Graph, into: HTMLElement) {
    this.state = new State(graph);
    this.measures = measuresOf(graph);
    this.shell = this.makeShell();
    into.append(this.shell.root);
    this.screen = new Screen(this.state, this.shell);
    const { canvas, tree, search, found, status, inspector } = this.shell;
    const onMap = <T extends unknown[]>(deed: (...of: T) => unknown) => (...of: T): void => (canvas.focus(), void deed(...of)); // the button may go
    this.inspector = new Inspector(inspector, this.state, this.measures, {
      select: onMap((b) => this.select(b, true)),
      toggle: onMap((b) => this.toggle(b)),
      unfold: onMap((group) => this.change(() => (this.state.unfold(group), this.state.close(group)), false, ~group)),
      leave: onMap(() => this.select(-1)),
    });
    this.search = new Search(graph, search, found, status, (item) => void this.goTo(item));
    new Tree(tree, this.state, (item) => void this.goTo(item, false));
    follow(canvas, this.screen.camera, {
      press: (at) => this.press(at),
      hover: (at) => this.hover(at),
      changed: () => this.screen.glide(),
    });
    document.addEventListener("keydown", (event) => this.key(event));
    onPrint(this.shell, this.screen, this.state, (dark) => this.wear(dark));
    const scheme = matchMedia("(prefers-color-scheme: dark)");
    scheme.addEventListener("change", () => this.wear(scheme.matches));
    if (this.measures.has(graph.show?.color ?? "")) this.colorBy = graph.show!.color!;
    this.shell.color.value = this.colorBy;
    this.wear(scheme.matches);
  }

  private makeShell(): Shell {
    return shell(this.state, this.measures, {
      fit: () => this.screen.fit(),
      zoom: (factor) => this.screen.zoom(factor),
      turn: () => this.change(() => (this.state.direction = this.state.direction === "down" ? "right" : "down"), true),
      fold: () => this.change(() => (this.screen.folded = !this.screen.folded), true),
      theme: () => this.wear(!this.screen.theme.dark),
      tree: () => this.toggleTree(),
      help: () => this.shell.help.showModal(),
      restart: () => this.change(() => this.state.restart(), true),
      openAll: (unfold) => this.change(() => this.state.openAll(unfold), true),
      closeAll: () => this.change(() => this.state.closeAll(), true),
      png: () => savePng(this.state, this.screen.look(), this.screen.camera),
      svg: () => saveSvg(this.state, this.screen.look()),
      color: (name) => this.color(name),
    });
  }

  /** Change what is open; the map moves there, and an item that is given stays where it is on the screen. */
  async change(deed: () => void, fit: boolean, keep?: Item): Promise<void> {
    const { screen, state } = this;
    const round = ++this.round;
    const held = keep === undefined ? null : screen.placeOf(keep);
    const kept = screen.selected < 0 ? null : itemOf(screen.stage.view.boxes[screen.selected]);
    deed();
    const view = state.scene();
    this.shell.root.setAttribute("aria-busy", "true");
    const placed = await arrange(view, state.direction, screen.camera.width < screen.camera.height ? TALL : WIDE);
    if (round !== this.round) return;
    this.shell.root.removeAttribute("aria-busy");
    screen.take({ view, placed });
    screen.found = new Set(this.search.found.map((item) => state.boxOf(view, item)).filter((b) => b >= 0));
    this.select(kept === null ? -1 : state.boxOf(view, kept));
    const now = keep === undefined ? null : screen.placeOf(keep);
    this.repaint();
    if (fit) screen.fit();
    else if (held && now) {
      screen.camera.x += (held.x - now.x) * screen.camera.scale;
      screen.camera.y += (held.y - now.y) * screen.camera.scale;
    }
    screen.draw();
  }

  private repaint(): void {
    const { screen, shell, state } = this;
    const { boxes } = screen.stage.view;
    const measure = this.measures.get(this.colorBy);
    screen.coloring = measure ? coloring(this.colorBy, measure, state.tree, boxes) : null;
    screen.survey();
    const signs = new Set(boxes.flatMap((box) => (box.pictured ? [state.picture(box)!.signed] : [])));
    legend(shell.legend, boxes, screen.coloring, screen.theme, signs);
    shell.canvas.setAttribute("aria-label", `${boxes.length} boxes. Arrow keys go along the network; the tree lists everything.`);
    shell.root.dataset["boxes"] = String(boxes.length);
  }

  private toggle(b: number): void {
    const box = this.screen.stage.view.boxes[b];
    if (this.state.canOpen(box)) void this.change(() => this.state.open(box.index), false, ~box.index);
  }

  private closeFrame(f: number): void {
    const { group } = this.screen.stage.view.frames[f];
    void this.change(() => this.state.close(group), false, ~group);
  }

  private select(b: number, show = false): void {
    const { screen } = this;
    screen.selected = b;
    this.inspector.show(screen.stage.view, b, screen.theme.dark);
    if (b >= 0) {
      const box = screen.stage.view.boxes[b];
      this.shell.status.textContent = `${box.title}, ${this.state.pathOf(box) || "outermost"}`;
      if (show) screen.show(b);
    }
    screen.draw();
  }

  /** Open what hides an item, select it and bring it into view. */
  private async goTo(item: Item, focus = true): Promise<void> {
    const { screen, state } = this;
    const box = screen.stage.view.boxes[state.boxOf(screen.stage.view, item)];
    if (!box || itemOf(box) !== item) await this.change(() => state.reveal(item), false);
    screen.still();
    const f = screen.frameOf(item);
    if (f > 0) screen.showFrame(f);
    this.select(f > 0 ? -1 : state.boxOf(screen.stage.view, item), true);
    if (focus) this.shell.canvas.focus();
  }

  /** The box, or else the frame by its title, at a place on the screen; -1 for none. */
  private pointed(at: Place): { b: number; f: number } {
    const { near, camera } = this.screen;
    const { x, y } = this.screen.toMap(at);
    const b = near.boxAt(x, y);
    return { b, f: b < 0 ? near.titleAt(x, y, Math.max(FRAME_TITLE, 14 / camera.scale)) : -1 };
  }

  private press(at: Place): void {
    const { b, f } = this.pointed(at);
    this.shell.canvas.focus();
    if (f > 0) return this.closeFrame(f);
    this.select(b);
    if (b >= 0) this.toggle(b);
  }

  private hover(at: Place | null): void {
    const { screen } = this;
    const { tip, canvas } = this.shell;
    const { b, f } = at ? this.pointed(at) : { b: -1, f: -1 };
    canvas.classList.toggle("press", b >= 0 || f > 0);
    if (at && b >= 0) {
      const box = screen.stage.view.boxes[b];
      tip.textContent = [box.title, this.state.pathOf(box), ...box.lines.slice(1)].filter(Boolean).join("\n");
    }
    tip.hidden = b < 0;
    if (at && b >= 0) beside(tip, at, screen.camera);
    if (b === screen.hovered || screen.slow) return;
    screen.hovered = b;
    screen.draw();
  }

  private key(event: KeyboardEvent): void {
    const target = event.target as HTMLElement;
    if (modified(event) || target.closest("input, select, dialog, [role=tree]")) return;
    const way = WAYS[this.state.direction][event.key];
    const press = target.closest("button, summary") && event.key === "Enter";
    const deed = way ? (): void => this.walk(way) : press ? undefined : this.deeds[event.key];
    if (!deed) return;
    event.preventDefault();
    deed();
  }

  private readonly deeds: Record<string, () => void> = {
    Enter: () => this.screen.selected >= 0 && this.toggle(this.screen.selected),
    Backspace: () => this.closeAround(),
    Escape: () => this.leave(),
    "/": () => this.shell.search.select(),
    "[": () => this.search.step(-1),
    "]": () => this.search.step(1),
    f: () => this.screen.fit(),
    F: () => this.screen.fit(),
    "+": () => this.screen.zoom(1.4),
    "=": () => this.screen.zoom(1.4),
    "-": () => this.screen.zoom(1 / 1.4),
    "?": () => this.shell.help.showModal(),
  };

  private walk(way: Way): void {
    const next = step(this.screen.stage, this.screen.selected, way);
    if (next >= 0) this.select(next, true);
  }

  private leave(): void {
    this.search.clear();
    this.screen.found = new Set();
    this.select(-1);
  }

  private closeAround(): void {
    const { selected, stage } = this.screen;
    if (selected >= 0 && stage.view.boxes[selected].frame > 0) this.closeFrame(stage.view.boxes[selected].frame);
  }

  private toggleTree(): void {
    if (!this.shell.treePanel.classList.toggle("away")) this.shell.tree.querySelector<HTMLElement>("[tabindex='0']")?.focus();
  }

  private color(name: string): void {
    this.colorBy = name;
    this.repaint();
  }

  private wear(dark: boolean): void {
    this.screen.theme = themeOf(dark);
    document.documentElement.dataset["theme"] = dark ? "dark" : "light";
    this.inspector.show(this.screen.stage.view, this.screen.selected, dark);
    this.repaint();
  }
}
