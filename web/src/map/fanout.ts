// Which wires are named at both ends rather than drawn: an attention mask that every layer reads, a shared constant.

const MANY = 8; // more consumers than this,
const DEEP = 12; // and further down than this

/** Whether each wire is far; `source` and `target` sorted by source. */
export function farWires(boxes: number, source: number[], target: number[]): boolean[] {
  const fans = new Int32Array(boxes);
  const depth = new Int32Array(boxes);
  for (let w = 0; w < source.length; w++) {
    const s = source[w];
    const t = target[w];
    fans[s] += 1;
    if (s < t && depth[t] <= depth[s]) depth[t] = depth[s] + 1;
  }
  return source.map((s, w) => s > target[w] || (fans[s] > MANY && depth[target[w]] - depth[s] > DEEP));
}
