// The x of every vertex: as straight as can be, by exact least squares row by row (pool adjacent violators).

import { type Level, type Links, links } from "./level.ts";
import { straighten } from "./straighten.ts";

const PASSES = 6;
const PULL = 0.02; // a weak pull to the middle, against drifting away together

/** Set x: each row in turn, down and up, where its neighbors want it; at last columns are made straight. */
export function align(level: Level): void {
  level.x = new Array<number>(level.rank.length).fill(0);
  for (const row of level.rows) packed(level, row);
  const above = links(level, true);
  const below = links(level, false);
  const rows = level.rows.length;
  for (let turn = 0; turn < PASSES; turn++) {
    const down = turn % 2 === 0;
    const both = turn === PASSES - 1;
    for (let r = 0; r < rows; r++) settle(level, level.rows[down ? r : rows - 1 - r], down ? above : below, both ? above : null);
  }
  straighten(level);
}

function packed(level: Level, row: number[]): void {
  let at = 0;
  for (const v of row) {
    const reach = level.width[v] / 2 + level.margin[v];
    level.x[v] = at + reach;
    at += 2 * reach;
  }
  for (const v of row) level.x[v] -= at / 2;
  level.steps += row.length;
}

function settle(level: Level, row: number[], near: Links, also: Links | null): void {
  const x = level.x;
  const pull = also ? 0 : PULL;
  const wishes: number[] = [];
  const weights: number[] = [];
  for (const v of row) {
    let total = 0;
    let weight = 0;
    for (let found: Links | null = near; found; found = found === near && also !== near ? also : null) {
      const end = found.first[v + 1];
      for (let k = found.first[v]; k < end; k++) {
        total += (x[found.other[k]] + found.shift[k]) * found.weight[k];
        weight += found.weight[k];
      }
      level.steps += end - found.first[v];
    }
    wishes.push(weight ? total / (weight + pull) : x[v] * 0.5);
    weights.push((weight || 0.1) + pull);
  }
  pool(level, row, wishes, weights);
}

/** The places closest to the wishes that keep the order and the distances. */
function pool(level: Level, row: number[], wishes: number[], weights: number[]): void {
  const offsets: number[] = [];
  const means: number[] = [];
  const masses: number[] = [];
  const sizes: number[] = [];
  let at = 0;
  let before = 0;
  for (let i = 0; i < row.length; i++) {
    const v = row[i];
    const reach = level.width[v] / 2 + level.margin[v];
    at += i ? before + reach : 0;
    before = reach;
    offsets.push(at);
    let mean = wishes[i] - at;
    let mass = weights[i];
    let size = 1;
    while (means.length && means[means.length - 1] > mean) {
      const other = means.pop()!;
      const weight = masses.pop()!;
      mean = (mean * mass + other * weight) / (mass + weight);
      mass += weight;
      size += sizes.pop()!;
    }
    means.push(mean);
    masses.push(mass);
    sizes.push(size);
  }
  let i = 0;
  for (let b = 0; b < means.length; b++) {
    for (let k = 0; k < sizes[b]; k++, i++) level.x[row[i]] = means[b] + offsets[i];
  }
  level.steps += 2 * row.length;
}
