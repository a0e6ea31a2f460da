// The panel at the side: what is known of the box that is selected, and ways to go on from it.

import type { Box, View } from "../map/scene.ts";
import { activation, strip } from "./colors.ts";
import { fill, make } from "./dom.ts";
import { type Neighbor, factsOf, neighbors } from "./facts.ts";
import type { Shown } from "./measures.ts";
import { channels } from "./pictures.ts";
import type { State } from "./state.ts";

const MOST = 40; // neighbors that are listed

export interface Deeds {
  select(box: number): void;
  toggle(box: number): void;
  unfold(group: number): void;
  leave(): void;
}

export class Inspector {
  constructor(
    private readonly panel: HTMLElement,
    private readonly state: State,
    private readonly measures: Map<string, Shown>,
    private readonly deeds: Deeds,
  ) {}

  show(view: View, b: number, dark: boolean): void {
    this.panel.hidden = b < 0;
    if (b < 0) return fill(this.panel);
    const box = view.boxes[b];
    const { before, after } = neighbors(view, b);
    fill(
      this.panel,
      make("header", {}, make("h2", {}, box.title), make("button", { type: "button", class: "close", "aria-label": "Close", onclick: () => this.deeds.leave() }, "×")),
      this.actions(b, box),
      this.table(box),
      ...this.pictures(box, dark),
      ...this.list("From", view, before),
      ...this.list("To", view, after),
    );
  }

  private actions(b: number, box: Box): HTMLElement {
    const row = make("div", { class: "row" });
    if (this.state.canOpen(box)) row.append(make("button", { type: "button", onclick: () => this.deeds.toggle(b) }, "Open"));
    if (box.kind === "run") {
      row.append(make("button", { type: "button", onclick: () => this.deeds.unfold(box.index) }, `Show all ${box.count}`));
    }
    return row;
  }

  private table(box: Box): HTMLElement {
    const list = make("dl");
    for (const { name, value, share } of factsOf(this.state, this.measures, box)) {
      const cell = make("dd", {}, value);
      if (share !== undefined) {
        const part = `${+(100 * share).toPrecision(2)} %`;
        const meter = make("meter", { min: 0, max: 1, value: share, "aria-label": `${part} of the network` });
        cell.append(make("div", { class: "quiet share" }, meter, part));
      }
      list.append(make("dt", {}, name), cell);
    }
    return list;
  }

  private pictures(box: Box, dark: boolean): HTMLElement[] {
    const picture = this.state.picture(box);
    if (!picture) return [];
    const cells = channels(picture, dark).map((canvas, c) => {
      const copy = make("canvas", { width: canvas.width, height: canvas.height, role: "img", "aria-label": `Channel ${picture.channels[c]}` });
      copy.getContext("2d")!.drawImage(canvas, 0, 0);
      return make("figure", {}, copy, make("figcaption", {}, String(picture.channels[c])));
    });
    const [low, high] = [picture.low, picture.high].map((v) => make("span", {}, v.toPrecision(3)));
    const scale = strip((share) => activation(share, picture.signed, dark), 120, "from the least to the largest value");
    const ends = make("div", { class: "ends quiet" }, low, scale, high);
    return [make("h3", {}, "Strongest channels"), make("div", { class: "channels" }, ...cells), ends];
  }

  private list(name: string, view: View, found: Neighbor[]): HTMLElement[] {
    if (!found.length) return [];
    const items = found.slice(0, MOST).map(({ box, shape }) => {
      const path = this.state.pathOf(view.boxes[box]);
      const press = make("button", { type: "button", class: "link", title: path, onclick: () => this.deeds.select(box) }, view.boxes[box].title);
      return make("li", {}, press, make("span", { class: "quiet" }, shape));
    });
    if (found.length > MOST) items.push(make("li", { class: "quiet" }, `and ${found.length - MOST} more`));
    return [make("h3", {}, name), make("ul", { class: "neighbors" }, ...items)];
  }
}
