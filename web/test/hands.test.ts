// What hands do to the page, in the ways in which browsers differ: pinches, wheels, keys, the search list, menus, tips.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import test from "node:test";
import type { Graph } from "../src/map/graph.ts";
import { Camera } from "../src/page/camera.ts";
import { follow } from "../src/page/pointer.ts";
import { Search } from "../src/page/search.ts";
import { unfolding } from "../src/page/shell.ts";
import { beside } from "../src/page/tip.ts";
import { modified } from "../src/page/walk.ts";

/** As much of an element as these parts ask for. */
class Thing extends EventTarget {
  hidden = false;
  open = false;
  value = "";
  textContent = "";
  tagName: string;
  children: Thing[] = [];
  style: Record<string, string> = {};
  offsetWidth = 0;
  offsetHeight = 0;
  readonly attributes = new Map<string, string>();

  constructor(tag = "div") {
    super();
    this.tagName = tag;
  }

  setAttribute = (name: string, value: string): void => void this.attributes.set(name, value);
  removeAttribute = (name: string): void => void this.attributes.delete(name);
  append = (...more: Thing[]): void => void this.children.push(...more);
  replaceChildren = (...children: Thing[]): void => void (this.children = children);
  contains = (other: Thing): boolean => other === this || this.children.some((child) => child instanceof Thing && child.contains(other));
  querySelectorAll = (tag: string): Thing[] => this.children.filter((child) => child.tagName === tag);
  getBoundingClientRect = (): object => ({ left: 10, top: 20 });
  setPointerCapture = (): void => undefined;
  scrollIntoView = (): void => undefined;
  blur = (): void => void this.dispatchEvent(new Event("blur"));
  focus = (): void => void (page.activeElement = this);
}

const page = Object.assign(new EventTarget(), { createElement: (tag: string) => new Thing(tag), activeElement: null as Thing | null });
Object.assign(globalThis, { document: page });

const as = <T>(thing: unknown): T => thing as T;
const event = (type: string, given: object): Event => Object.assign(new Event(type, { cancelable: true }), given);

function onMap(): { canvas: Thing; camera: Camera; changes: () => number; presses: () => number } {
  const [canvas, camera] = [new Thing(), new Camera()];
  let [changes, presses] = [0, 0];
  follow(as<HTMLElement>(canvas), camera, { press: () => presses++, hover: () => undefined, changed: () => changes++ });
  return { canvas, camera, changes: () => changes, presses: () => presses };
}

const middle = { clientX: 110, clientY: 70 }; // of the screen: 100, 50 on the canvas

test("a pinch on a Mac's trackpad zooms the map around the pointer, and not the page", () => {
  const { canvas, camera, changes } = onMap();
  for (const [type, scale] of [["gesturestart", 1], ["gesturechange", 1.5], ["gesturechange", 2], ["gestureend", 2]] as const) {
    const told = event(type, { ...middle, scale });
    canvas.dispatchEvent(told);
    assert.ok(told.defaultPrevented, type);
  }
  assert.equal(changes(), 2);
  assert.ok(Math.abs(camera.scale - 2) < 1e-9);
  assert.deepEqual(camera.toScreen({ x: 100, y: 50 }), { x: 100, y: 50 });
  canvas.dispatchEvent(event("gesturestart", { ...middle, scale: 1 }));
  canvas.dispatchEvent(event("gesturechange", { ...middle, scale: 0.5 }));
  assert.ok(Math.abs(camera.scale - 1) < 1e-9, "the next one begins anew");
});

test("fingers on a screen zoom once, also where gestures are told beside them; the last one up presses nothing", () => {
  const { canvas, camera, presses } = onMap();
  const finger = (type: string, pointerId: number, clientX: number): boolean =>
    canvas.dispatchEvent(event(type, { pointerId, clientX, clientY: 70, button: 0 }));
  finger("pointerdown", 1, 60);
  finger("pointerdown", 2, 160);
  canvas.dispatchEvent(event("gesturestart", { ...middle, scale: 1 }));
  finger("pointermove", 2, 260);
  canvas.dispatchEvent(event("gesturechange", { ...middle, scale: 2 }));
  assert.ok(Math.abs(camera.scale - 2) < 1e-9);
  finger("pointerup", 1, 60);
  finger("pointerup", 2, 260);
  assert.equal(presses(), 0);
});

test("a wheel zooms alike, whether it is told in pixels, lines or pages", () => {
  const scales = [[0, 100], [1, 5], [2, 0.1]].map(([deltaMode, deltaY]) => {
    const { canvas, camera } = onMap();
    camera.height = 1000;
    canvas.dispatchEvent(event("wheel", { ...middle, deltaMode, deltaY, deltaX: 0 }));
    return camera.scale;
  });
  assert.ok(scales[0] < 1);
  for (const scale of scales) assert.ok(Math.abs(scale - scales[0]) < 1e-9);
});

test("brackets that are typed with AltGr or Option are brackets; other keys with Ctrl, Alt or Command are the browser's", () => {
  const held = (key: string, ...keys: string[]): boolean =>
    modified(as<KeyboardEvent>({
      key, ctrlKey: keys.includes("ctrl"), altKey: keys.includes("alt"), metaKey: keys.includes("meta"),
      getModifierState: (name: string) => name === "AltGraph" && keys.includes("graph"),
    }));
  assert.ok(!held("]") && !held("]", "ctrl", "alt", "graph") && !held("[", "alt") && !held("?"));
  assert.ok(held("f", "ctrl") && held("f", "meta") && held("ArrowLeft", "alt") && held("]", "meta"));
});

test("a search list that is closed says so, and points at nothing in it", () => {
  const graph = (JSON.parse(readFileSync(join(import.meta.dirname, "../../vectors/transformer.json"), "utf8")) as { graph: Graph }).graph;
  const [input, list, status] = [new Thing(), new Thing(), new Thing()];
  const gone: number[] = [];
  const search = new Search(graph, as<HTMLInputElement>(input), as<HTMLElement>(list), as<HTMLElement>(status), (item) => gone.push(item));
  const said = (): [boolean, string | undefined, string | undefined] =>
    [list.hidden, input.attributes.get("aria-expanded"), input.attributes.get("aria-activedescendant")];
  input.value = "softmax";
  input.dispatchEvent(new Event("input"));
  input.dispatchEvent(event("keydown", { key: "ArrowDown" }));
  assert.deepEqual(said(), [false, "true", "found-0"]);
  input.dispatchEvent(event("keydown", { key: "Enter" }));
  assert.deepEqual(said(), [true, "false", undefined]);
  assert.deepEqual(gone, [search.found[0]]);
  input.dispatchEvent(new Event("focus"));
  assert.deepEqual(said(), [false, "true", undefined]);
  input.dispatchEvent(new Event("blur"));
  assert.deepEqual(said(), [true, "false", undefined]);
});

test("a menu goes with Escape, and when something else is pressed or focused, but not when its button takes no focus", () => {
  const [content, elsewhere] = [new Thing(), new Thing()];
  content.append(new Thing("button"), new Thing("button"), new Thing("button"));
  const menu = as<Thing>(unfolding("Show", as<HTMLElement>(content)));
  const open = (): void => void (menu.open = true);
  open();
  menu.dispatchEvent(event("focusout", { relatedTarget: null })); // as browsers on a Mac tell a press of its own button
  assert.ok(menu.open);
  menu.dispatchEvent(event("focusout", { relatedTarget: elsewhere }));
  assert.ok(!menu.open);
  const pressed = (on: Thing): void => {
    const told = new Event("pointerdown");
    Object.defineProperty(told, "target", { value: on });
    page.dispatchEvent(told);
  };
  open();
  pressed(content.children[0]);
  assert.ok(menu.open);
  pressed(elsewhere);
  assert.ok(!menu.open);
  open();
  const at = (key: string): number => (menu.dispatchEvent(event("keydown", { key })), content.children.indexOf(page.activeElement!));
  assert.deepEqual(["ArrowDown", "ArrowDown", "ArrowUp", "ArrowUp", "ArrowDown"].map(at), [0, 1, 0, 2, 0]);
  at("Escape");
  assert.ok(!menu.open && page.activeElement === menu.children[0], "the focus is on its name again");
});

test("tips stay on the map: above the pointer where there is no room below, left where there is none at the right", () => {
  const tip = Object.assign(new Thing(), { offsetWidth: 200, offsetHeight: 60 });
  const within = { width: 390, height: 600 };
  for (const at of [{ x: 5, y: 5 }, { x: 380, y: 5 }, { x: 200, y: 590 }, { x: 389, y: 599 }]) {
    beside(as<HTMLElement>(tip), at, within);
    const [left, top] = [parseFloat(tip.style["left"]), parseFloat(tip.style["top"])];
    assert.ok(left >= 0 && left + 200 <= within.width && top >= 0 && top + 60 <= within.height);
    assert.ok(top > at.y || top + 60 < at.y, "never under the pointer");
  }
});
