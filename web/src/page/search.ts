// Finding operations and modules by any part of their names, paths, labels and shapes; every word must be there.

import type { Graph } from "../map/graph.ts";
import { fill, make } from "./dom.ts";
import type { Item } from "./state.ts";

const MOST = 200;

/** The items whose text holds all words, modules first. */
export function find(graph: Graph, query: string, most = MOST): Item[] {
  const words = query.toLowerCase().split(/\s+/).filter(Boolean);
  const found: Item[] = [];
  if (!words.length) return found;
  const { nodes, groups, shapes } = graph;
  const has = (...texts: string[]): boolean => {
    const text = texts.join(" ").toLowerCase();
    return words.every((word) => text.includes(word));
  };
  for (let g = 1; g < groups.path.length && found.length < most; g++) if (has(groups.path[g], groups.kind[g])) found.push(~g);
  for (let i = 0; i < nodes.op.length && found.length < most; i++) {
    const shape = nodes.shape[i] < 0 ? "" : shapes[nodes.shape[i]];
    if (has(nodes.op[i], groups.path[nodes.group[i]], nodes.label[i], nodes.site[i], shape, nodes.dtype[i])) found.push(i);
  }
  return found;
}

export class Search {
  found: Item[] = [];
  private at = -1;

  constructor(
    private readonly graph: Graph,
    readonly input: HTMLInputElement,
    private readonly list: HTMLElement,
    private readonly status: HTMLElement,
    private readonly go: (item: Item) => void,
  ) {
    input.addEventListener("input", () => this.look());
    input.addEventListener("keydown", (event) => this.key(event));
    input.addEventListener("focus", () => this.unfold(this.found.length > 0));
    list.addEventListener("mousedown", (event) => event.preventDefault()); // keeps the focus where it is
    input.addEventListener("blur", () => this.unfold(false));
  }

  private look(): void {
    this.found = find(this.graph, this.input.value);
    this.at = -1;
    fill(this.list, ...this.found.slice(0, 50).map((item, i) => this.option(item, i)));
    this.input.removeAttribute("aria-activedescendant");
    this.unfold(this.found.length > 0);
    const many = this.found.length >= MOST ? `more than ${MOST}` : String(this.found.length);
    this.status.textContent = this.input.value ? `${many} found` : "";
  }

  /** Show the list or hide it; assistive technology must not be sent to options that are hidden. */
  private unfold(open: boolean): void {
    this.list.hidden = !open;
    this.input.setAttribute("aria-expanded", String(open));
    if (!open) this.input.removeAttribute("aria-activedescendant");
  }

  private option(item: Item, i: number): HTMLElement {
    const { nodes, groups } = this.graph;
    const [title, path] = item >= 0 ? [nodes.op[item], groups.path[nodes.group[item]]] : [groups.kind[~item], groups.path[~item]];
    const children = [make("b", {}, title || "module"), make("span", { class: "quiet" }, path)];
    return make("li", { role: "option", id: `found-${i}`, "aria-selected": "false", onclick: () => this.choose(i) }, ...children);
  }

  private key(event: KeyboardEvent): void {
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      this.mark(this.at + (event.key === "ArrowDown" ? 1 : -1));
    } else if (event.key === "Enter" && this.found.length) {
      this.choose(Math.max(this.at, 0));
    } else if (event.key === "Escape") {
      this.input.blur();
    }
  }

  private mark(at: number): void {
    const count = this.list.children.length;
    if (!count) return;
    this.at = (at + count) % count;
    [...this.list.children].forEach((option, i) => option.setAttribute("aria-selected", String(i === this.at)));
    this.list.children[this.at].scrollIntoView({ block: "nearest" });
    this.input.setAttribute("aria-activedescendant", `found-${this.at}`);
  }

  /** Go to a match; the list closes, and [ and ] walk through the rest. */
  choose(at: number): void {
    this.at = at;
    this.unfold(false);
    this.input.blur();
    this.go(this.found[at]);
  }

  clear(): void {
    this.input.value = "";
    this.look();
  }

  step(by: number): void {
    if (this.found.length) this.choose((this.at + by + this.found.length) % this.found.length);
  }
}
