// Pieces that are joined to nothing else, in rows as on shelves: in their order, and together near a wanted shape.

export const SHELF = 20; // between neighbors, and between shelves
export const WIDE = 1.5; // how much wider than high all of them together are wanted;
export const TALL = 0.7; // and on a screen that is higher than wide
const TRIED = [1, 1.15, 1.3, 1.5, 1.75]; // lengths of shelves, as parts of what would be right without any gap

export type Size = [number, number];

interface Shelved {
  places: Size[];
  size: Size;
}

/**
 * Where each piece begins, across and along the ranks, and the size of all.
 * Where the first is `ported`, joined to what is around, the others stand beside it.
 */
export function spread(sizes: Size[], ported: boolean, down: boolean, wide: number): Shelved {
  if (sizes.length < 2) return { places: sizes.map(() => [0, 0]), size: sizes[0] ?? [0, 0] };
  const turned = (size: Size): Size => (down ? size : [size[1], size[0]]);
  const seen = sizes.map(turned);
  const { places, size } = ported ? beside(seen, down, wide) : shelves(seen, wide);
  return { places: places.map(turned), size: turned(size) };
}

/** The first piece as it is, and the others right of it, or below where it lies. */
function beside([[width, height], ...rest]: Size[], down: boolean, wide: number): Shelved {
  let room = 0;
  for (const [w, h] of rest) room += (w + SHELF) * (h + SHELF);
  const found = shelves(rest, wide, down ? room / height : width);
  const [x, y] = down ? [width + SHELF, 0] : [0, height + SHELF];
  const places = found.places.map(([left, top]): Size => [x + left, y + top]);
  return { places: [[0, 0], ...places], size: [Math.max(width, x + found.size[0]), Math.max(height, y + found.size[1])] };
}

/** The upper left corner of each piece (width, height), and the size of all; shelves are at least `least` long. */
export function shelves(sizes: Size[], wide = WIDE, least = 0): Shelved {
  const [limit, length] = shape(sizes, wide, least);
  let best: Shelved | null = null;
  for (const times of TRIED) {
    const found = placed(sizes, limit, times * length);
    if (!best || reach(found.size, wide) < reach(best.size, wide)) best = found;
  }
  return best!;
}

/** The width of the smallest rectangle of the wanted shape around a size. */
function reach([width, height]: Size, wide: number): number {
  return Math.max(width, wide * height);
}

function placed(sizes: Size[], limit: number, length: number): Shelved {
  const places: Size[] = [];
  let top = 0;
  let right = 0;
  while (places.length < sizes.length) {
    let [width, tall] = sizes[places.length];
    if (tall > limit) places.push([0, top]);
    else {
      tall = tallest(sizes, places.length, limit, length);
      width = filled(sizes, places, top, tall, length);
    }
    right = Math.max(right, width);
    top += tall + SHELF;
  }
  return { places, size: [right, Math.max(top - SHELF, 0)] };
}

/** How high a piece may be that shares a shelf, and how long shelves are. */
function shape(sizes: Size[], wide: number, least: number): [number, number] {
  let room = 0;
  let longest = 0;
  for (const [width, height] of sizes) {
    room += (width + SHELF) * (height + SHELF);
    longest = Math.max(longest, width);
  }
  let limit = Math.sqrt(room / wide);
  for (const [width, height] of sizes.slice().sort((a, b) => b[1] - a[1])) {
    if (height <= limit) break;
    room -= (width + SHELF) * (height + SHELF);
    limit = Math.sqrt(Math.max(room, 0) / wide);
  }
  return [limit, Math.max(longest, least, limit * wide)];
}

/** The height of a shelf: that of the highest piece among those that fit side by side. */
function tallest(sizes: Size[], first: number, limit: number, length: number): number {
  let right = -SHELF;
  let tall = 0;
  for (let k = first; k < sizes.length; k++) {
    const [width, height] = sizes[k];
    right += SHELF + width;
    if (right > length || height > limit) break;
    tall = Math.max(tall, height);
  }
  return tall;
}

/** Fill a shelf from the left, each place from above; gives how far it reaches. */
function filled(sizes: Size[], places: Size[], top: number, tall: number, length: number): number {
  let x = 0;
  let y = 0;
  let wide = 0;
  while (places.length < sizes.length) {
    const [width, height] = sizes[places.length];
    if (height > tall) break;
    if (y + height > tall || x + width > length) {
      if (x + wide + SHELF + width > length) break;
      x += wide + SHELF;
      y = 0;
      wide = 0;
    }
    places.push([x, top + y]);
    y += height + SHELF;
    wide = Math.max(wide, width);
  }
  return x + wide;
}
