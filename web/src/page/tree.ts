// The network as a tree of elements, for screen readers and for whoever likes lists; branches are made when opened.

import { ROOT, isStretch } from "../map/graph.ts";
import { opens } from "../map/outline.ts";
import { nameOf } from "../map/boxes.ts";
import { make } from "./dom.ts";
import type { Item, State } from "./state.ts";

const MOST = 300; // items of one branch

export class Tree {
  private readonly items = new WeakMap<HTMLElement, Item>();
  private current: HTMLElement | null = null;

  constructor(private readonly root: HTMLElement, private readonly state: State, private readonly go: (item: Item) => void) {
    this.grow(root, ROOT, 1);
    const first = root.querySelector<HTMLElement>("[role=treeitem]");
    if (first) first.tabIndex = 0;
    this.current = first;
    root.addEventListener("keydown", (event) => this.key(event));
    root.addEventListener("click", (event) => {
      const row = (event.target as HTMLElement).closest<HTMLElement>("[role=treeitem]");
      if (!row) return;
      this.focus(row);
      if (row.hasAttribute("aria-expanded")) this.expand(row, row.getAttribute("aria-expanded") !== "true");
      this.go(this.items.get(row)!);
    });
  }

  private grow(into: HTMLElement, group: number, level: number): void {
    const items = this.state.tree.items[group];
    for (const item of items.slice(0, MOST)) into.append(this.row(item, level));
    if (items.length > MOST) into.append(make("li", { role: "none", class: "quiet" }, `and ${items.length - MOST} more`));
  }

  private row(item: Item, level: number): HTMLElement {
    const { nodes, groups } = this.state.graph;
    const branch = item < 0 && opens(this.state.tree, ~item);
    const text = item >= 0 ? nodes.op[item] : isStretch(this.state.graph, ~item) ? "" : nameOf(groups.path[~item]);
    const quiet = item >= 0 ? nodes.label[item] : groups.kind[~item];
    const given: Record<string, string | number> = { role: "treeitem", tabindex: -1, "aria-level": level };
    if (branch) given["aria-expanded"] = "false";
    const row = make("li", given, make("span", { class: "name" }, text || quiet), make("span", { class: "quiet" }, text ? quiet : ""));
    this.items.set(row, item);
    return row;
  }

  private expand(row: HTMLElement, open: boolean): void {
    row.setAttribute("aria-expanded", String(open));
    const inner = row.querySelector<HTMLElement>(":scope > [role=group]");
    if (!open) return inner?.remove();
    if (inner) return;
    const list = make("ul", { role: "group" });
    this.grow(list, ~this.items.get(row)!, Number(row.getAttribute("aria-level")) + 1);
    row.append(list);
  }

  private focus(row: HTMLElement): void {
    if (this.current) this.current.tabIndex = -1;
    row.tabIndex = 0;
    row.focus();
    this.current = row;
  }

  private key(event: KeyboardEvent): void {
    const row = this.current;
    if (!row) return;
    const rows = [...this.root.querySelectorAll<HTMLElement>("[role=treeitem]")];
    const at = rows.indexOf(row);
    const open = row.getAttribute("aria-expanded");
    const to = (next: HTMLElement | null | undefined): void => void (next && this.focus(next));
    if (event.key === "ArrowDown") to(rows[at + 1]);
    else if (event.key === "ArrowUp") to(rows[at - 1]);
    else if (event.key === "Home") to(rows[0]);
    else if (event.key === "End") to(rows[rows.length - 1]);
    else if (event.key === "ArrowRight" && open === "false") this.expand(row, true);
    else if (event.key === "ArrowRight" && open === "true") to(rows[at + 1]);
    else if (event.key === "ArrowLeft" && open === "true") this.expand(row, false);
    else if (event.key === "ArrowLeft") to(row.parentElement?.closest<HTMLElement>("[role=treeitem]"));
    else if (event.key === "Enter" || event.key === " ") this.go(this.items.get(row)!);
    else return;
    event.preventDefault();
    event.stopPropagation();
  }
}
