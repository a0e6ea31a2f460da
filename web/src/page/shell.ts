// The elements of the page: one row of tools, the map, and the panels around it.

import { button, make } from "./dom.ts";
import { totalsOf } from "./facts.ts";
import type { Shown } from "./measures.ts";
import type { State } from "./state.ts";

export interface Deeds {
  fit(): void;
  zoom(factor: number): void;
  turn(): void;
  fold(): void;
  theme(): void;
  tree(): void;
  help(): void;
  restart(): void;
  openAll(unfold: boolean): void;
  closeAll(): void;
  png(): void;
  svg(): void;
  color(name: string): void;
}

export interface Shell {
  root: HTMLElement;
  stage: HTMLElement;
  canvas: HTMLCanvasElement;
  minimap: HTMLCanvasElement;
  paper: HTMLElement; // what is printed in place of the canvas
  inspector: HTMLElement;
  legend: HTMLElement;
  tip: HTMLElement;
  tree: HTMLElement;
  treePanel: HTMLElement;
  search: HTMLInputElement;
  color: HTMLSelectElement;
  found: HTMLElement;
  status: HTMLElement;
  help: HTMLDialogElement;
}

const KEYS: [string, string][] = [
  ["click", "open a module, close a frame by its title, select an operation"],
  ["drag, wheel, pinch", "move and zoom"],
  ["↓ ↑", "follow the network forwards and backwards"],
  ["← →", "the boxes beside"],
  ["Enter, Backspace", "open, close what is around"],
  ["/", "search; [ and ] go through what was found"],
  ["F, +, −", "see all, zoom"],
  ["Esc", "select nothing"],
];

export function shell(state: State, measures: Map<string, Shown>, deeds: Deeds): Shell {
  const canvas = make("canvas", { class: "map", tabindex: 0, role: "application", "aria-roledescription": "map of a network" });
  const minimap = make("canvas", { class: "minimap", "aria-hidden": "true" });
  const inspector = make("aside", { class: "inspector", "aria-label": "What is selected", hidden: true });
  const legend = make("div", { class: "legend" });
  const tip = make("div", { class: "tip", hidden: true });
  const tree = make("ul", { role: "tree", "aria-label": "The network as a tree" });
  const treePanel = make("nav", { class: "tree away", "aria-label": "The network as a tree" }, tree);
  const found = make("ul", { class: "found", role: "listbox", id: "found", "aria-label": "What was found", hidden: true });
  const search = make("input", {
    type: "search", placeholder: "Search  /", "aria-label": "Search", role: "combobox", "aria-controls": "found", "aria-expanded": "false", autocomplete: "off",
  });
  const color = colorsOf(measures, deeds);
  const status = make("p", { class: "status", role: "status", "aria-live": "polite" });
  const help = helpOf();
  const paper = make("div", { class: "paper" });
  const stage = make("main", {}, canvas, minimap, paper, legend, tip);
  const root = make(
    "div",
    { class: "pellucid-map" },
    header(state, deeds, make("div", { class: "search" }, search, found), color),
    make("div", { class: "middle" }, treePanel, stage, inspector),
    status,
    help,
  );
  return { root, stage, canvas, minimap, paper, inspector, legend, tip, tree, treePanel, search, color, found, status, help };
}

function colorsOf(measures: Map<string, Shown>, deeds: Deeds): HTMLSelectElement {
  const choices = [...measures].map(([name, measure]) => make("option", { value: name }, measure.title));
  const color = make("select", { "aria-label": "Color by" }, make("option", { value: "" }, "Color: kind"), ...choices);
  color.addEventListener("change", () => deeds.color(color.value));
  return color;
}

function header(state: State, deeds: Deeds, search: HTMLElement, color: HTMLElement): HTMLElement {
  const totals = totalsOf(state).map(({ name, value }) => make("span", {}, make("b", {}, value), ` ${name}`));
  return make(
    "header",
    { class: "bar" },
    button("☰", "The network as a tree", deeds.tree, { class: "tree-button" }),
    make("h1", { title: state.graph.name }, state.graph.name || "network"),
    make("div", { class: "totals" }, ...totals),
    ...notesOf(state),
    search,
    color,
    menu("Show", [["As at first", deeds.restart], ["Outermost modules", deeds.closeAll], ["All modules, repeats folded", () => deeds.openAll(false)], ["Every operation", () => deeds.openAll(true)], ["In columns, or as one", deeds.fold], ["Down, or to the right", deeds.turn]]),
    menu("Save", [["PNG of what is seen", deeds.png], ["SVG of what is seen", deeds.svg]]),
    make("div", { class: "group" }, button("−", "Zoom out", () => deeds.zoom(1 / 1.4)), button("⤢", "See all (F)", deeds.fit), button("+", "Zoom in", () => deeds.zoom(1.4))),
    button("◐", "Light or dark", deeds.theme),
    button("?", "Keys", deeds.help),
  );
}

/** What is to be known of how the map came about. */
function notesOf(state: State): HTMLElement[] {
  const { notes = [], source } = state.graph;
  const lines = [...(source ? [source] : []), ...notes].map((line) => make("p", {}, line));
  return lines.length ? [unfolding("Notes", make("div", { class: "notes" }, ...lines))] : [];
}

function menu(name: string, entries: [string, () => void][]): HTMLElement {
  const list = make("div");
  const details = unfolding(name, list);
  for (const [text, deed] of entries) {
    list.append(make("button", { type: "button", onclick: () => ((details.open = false), deed()) }, text));
  }
  return details;
}

/** Something that unfolds under its name, and goes with Escape or when something else is pressed or has the focus. */
export function unfolding(name: string, content: HTMLElement): HTMLDetailsElement {
  const summary = make("summary", {}, name);
  const details = make("details", { class: "menu" }, summary, content);
  details.addEventListener("focusout", ({ relatedTarget: next }) => {
    // Browsers on a Mac give no focus to a button that is pressed: no next one does not mean one elsewhere.
    if (next && !details.contains(next as Node)) details.open = false;
  });
  document.addEventListener("pointerdown", ({ target }) => {
    if (!details.contains(target as Node)) details.open = false;
  });
  details.addEventListener("keydown", (event) => {
    if (!details.open || !["Escape", "ArrowDown", "ArrowUp"].includes(event.key)) return;
    event.preventDefault();
    event.stopPropagation();
    if (event.key === "Escape") {
      details.open = false;
      return summary.focus();
    }
    const entries = [...content.querySelectorAll("button")];
    const at = entries.indexOf(document.activeElement as HTMLButtonElement);
    if (event.key === "ArrowDown") entries[(at + 1) % entries.length]?.focus();
    else entries[at > 0 ? at - 1 : entries.length - 1]?.focus();
  });
  return details;
}

function helpOf(): HTMLDialogElement {
  const rows = KEYS.flatMap(([keys, what]) => [make("dt", {}, keys), make("dd", {}, what)]);
  const dialog = make("dialog", { class: "help", "aria-label": "Keys" }, make("h2", {}, "Ways around"), make("dl", {}, ...rows));
  dialog.append(make("button", { type: "button", onclick: () => dialog.close() }, "Close"));
  return dialog;
}
