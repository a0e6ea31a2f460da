// Which groups to open first, so that the whole network is seen in about sixty boxes.

import { ROOT } from "./graph.ts";
import { layer, merelyCut, type Outline, opens } from "./outline.ts";

export const BUDGET = 60;
const ENOUGH = 40; // boxes; from here on stretches of a long list stay as they were made

/** The groups to open: always the one that holds the most operations, as long as all boxes together are few enough.
 *  What is one layer stays closed, in however many operations it is written; a group that is all there is, inputs and
 *  outputs aside, is open whatever it holds.  Stretches that a long list was cut into are opened only where there would
 *  be few boxes otherwise. */
export function openFirst(tree: Outline, budget = BUDGET): Set<number> {
  const opened = new Set([ROOT]);
  let outer = ROOT;
  let found = seen(tree, ROOT);
  let boxes = found.length;
  const waiting = new Heap();
  for (;;) {
    for (const group of found) {
      if (group > ROOT && opens(tree, group) && !layer(tree, group)) waiting.push(weight(tree, group), group);
    }
    const group = waiting.pop();
    if (group < 0) return opened;
    const within = seen(tree, group);
    const allThereIs = group === only(tree, outer);
    if (allThereIs) outer = group;
    const stays = boxes >= ENOUGH && merelyCut(tree, group);
    const fits = allThereIs || (boxes - 1 + within.length <= budget && !stays);
    found = fits ? within : [];
    if (fits) {
      boxes += within.length - 1;
      opened.add(group);
    }
  }
}

/** What is seen of an open group: groups, with one for a whole run; -1 for an operation. */
function seen(tree: Outline, group: number): number[] {
  const found: number[] = [];
  for (const item of tree.items[group]) {
    if (item >= 0 && tree.together[item]) found.push(-1);
    else if (item < 0 && tree.leader[~item] === ~item) found.push(~item);
  }
  return found;
}

/** The group that alone stands between the inputs and the outputs of a group; -1 where there is none or more. */
function only(tree: Outline, group: number): number {
  const found = tree.items[group].filter((item) => item < 0 || tree.graph.nodes.family[item] !== "io");
  return found.length === 1 && found[0] < 0 ? ~found[0] : -1;
}

function weight(tree: Outline, group: number): number {
  const within = tree.size[group] || tree.items[group].length;
  return within * (tree.run.get(group)?.length ?? 1);
}

/** Groups by weight, the heaviest first; of the same weight the first in the network. */
class Heap {
  private readonly groups: number[] = [];
  private readonly weights: number[] = [];

  push(weight: number, group: number): void {
    let k = this.groups.push(group) - 1;
    this.weights.push(weight);
    while (k > 0 && this.before(k, (k - 1) >> 1)) k = this.swap(k, (k - 1) >> 1);
  }

  pop(): number {
    if (!this.groups.length) return -1;
    this.swap(0, this.groups.length - 1);
    const group = this.groups.pop()!;
    this.weights.pop();
    for (let k = 0; ; ) {
      let best = k;
      for (const child of [2 * k + 1, 2 * k + 2]) {
        if (child < this.groups.length && this.before(child, best)) best = child;
      }
      if (best === k) return group;
      k = this.swap(k, best);
    }
  }

  private before(a: number, b: number): boolean {
    return this.weights[a] > this.weights[b] || (this.weights[a] === this.weights[b] && this.groups[a] < this.groups[b]);
  }

  private swap(a: number, b: number): number {
    [this.groups[a], this.groups[b]] = [this.groups[b], this.groups[a]];
    [this.weights[a], this.weights[b]] = [this.weights[b], this.weights[a]];
    return b;
  }
}
