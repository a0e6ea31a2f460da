// A scene taken apart into levels: one for each frame, with ports where wires pass through its border.
// What leaves a box leaves every frame around it through one port, and enters every frame through one port.

import type { Scene } from "./scene.ts";

const PORT = -1; // in place of an item: the port of `key`, the box from which the wire comes

/** The part of a wire that lies in one frame: from an item or an entry to an item or an exit. */
export interface Hop {
  source: number;
  target: number;
  key: number;
}

/** What one frame holds: its items (i a box, ~f a frame) in order, its hops, and its ports by source box. */
export class Part {
  readonly items: number[] = [];
  readonly hops: Hop[] = [];
  readonly entries = new Map<number, number>();
  readonly exits = new Map<number, number>();
  private readonly known = new Map<string, number>();

  /** The number of a hop; the same hop of another wire is not another one. */
  hop(source: number, target: number, key: number): number {
    if (source === PORT && !this.entries.has(key)) this.entries.set(key, this.entries.size);
    if (target === PORT && !this.exits.has(key)) this.exits.set(key, this.exits.size);
    const name = `${source} ${target} ${key}`;
    let at = this.known.get(name);
    if (at === undefined) {
      at = this.hops.push({ source, target, key }) - 1;
      this.known.set(name, at);
    }
    return at;
  }
}

/** The part of every frame, and every wire as frame, hop, frame, hop, ... from its source to its target. */
export function parts(scene: Scene): [Part[], number[][]] {
  const found = scene.frames.map(() => new Part());
  const [slotOfBox, slotOfFrame] = slots(scene, found);
  const depth = new Int32Array(scene.frames.length);
  for (let f = 1; f < depth.length; f++) depth[f] = depth[scene.frames[f].parent] + 1;
  const ways = scene.wires.map((wire) => {
    if (wire.far) return [];
    const out: number[] = [];
    const back: number[] = [];
    let a = scene.boxes[wire.source].frame;
    let b = scene.boxes[wire.target].frame;
    let start = slotOfBox[wire.source];
    let end = slotOfBox[wire.target];
    while (a !== b) {
      if (depth[a] >= depth[b]) {
        out.push(a, found[a].hop(start, PORT, wire.source));
        start = slotOfFrame[a];
        a = scene.frames[a].parent;
      } else {
        back.push(found[b].hop(PORT, end, wire.source), b);
        end = slotOfFrame[b];
        b = scene.frames[b].parent;
      }
    }
    out.push(a, found[a].hop(start, end, wire.source));
    return out.concat(back.reverse());
  });
  return [found, ways];
}

/** Fill the items of each part in order of running; the slot of each box and frame in the part around it. */
function slots(scene: Scene, found: Part[]): [Int32Array, Int32Array] {
  const slotOfBox = new Int32Array(scene.boxes.length);
  const slotOfFrame = new Int32Array(scene.frames.length);
  let entered = 1; // frames are numbered as a walk through the boxes enters them
  scene.boxes.forEach((box, b) => {
    for (; entered <= box.frame; entered++) {
      slotOfFrame[entered] = found[scene.frames[entered].parent].items.push(~entered) - 1;
    }
    slotOfBox[b] = found[box.frame].items.push(b) - 1;
  });
  return [slotOfBox, slotOfFrame];
}
