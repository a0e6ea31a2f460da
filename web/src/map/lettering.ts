// How wide text is, and what a box says: the same numbers as in pellucid/render/graph/lettering.py.
// The widths are those of Helvetica, which Arial and Liberation Sans share, in thousandths of the size of the letters.

export const TITLE = 12;
export const LINE = 11;
export const BOLD = 107;
const LONGEST = 30;
const HEAD = 12;
const WIDE = 0x1100;
const ASCII = [
  278, 278, 355, 556, 556, 889, 667, 191, 333, 333, 389, 584, 278, 333, 278, 278,
  556, 556, 556, 556, 556, 556, 556, 556, 556, 556, 278, 278, 584, 584, 584, 556,
  1015, 667, 667, 722, 722, 667, 611, 778, 722, 278, 500, 667, 556, 833, 722, 778,
  667, 778, 722, 667, 611, 722, 667, 944, 667, 667, 611, 278, 278, 278, 469, 556,
  333, 556, 556, 500, 556, 556, 278, 556, 556, 222, 222, 500, 222, 833, 556, 556,
  556, 556, 333, 500, 278, 556, 500, 722, 500, 500, 500, 334, 260, 334, 584,
];

/** The width of a text in thousandths of its size. */
export function units(text: string): number {
  let total = 0;
  for (const letter of text) {
    const code = letter.codePointAt(0)!;
    if (code >= 32 && code < 127) total += ASCII[code - 32];
    else total += code >= WIDE ? 1000 : 600;
  }
  return total;
}

/** A text of at most LONGEST letters: its beginning and its end, which name what it is. */
export function shortened(text: string): string {
  if (text.length <= LONGEST) return text;
  const letters = Array.from(text);
  if (letters.length <= LONGEST) return text;
  return letters.slice(0, HEAD).join("") + "…" + letters.slice(HEAD - LONGEST + 1).join("");
}

/** A label of at most LONGEST letters: as many of its settings, from the first on, as fit whole. */
export function fitting(label: string): string {
  const letters = (text: string): number => Array.from(text).length;
  if (letters(label) <= LONGEST) return label;
  let [kept, ...rest] = label.split(", ");
  for (const part of rest) {
    if (letters(kept) + letters(part) + 5 > LONGEST) return shortened(kept + ", …"); // with a comma before it and ", …" behind
    kept += `, ${part}`;
  }
  return shortened(kept);
}

/** A count in three digits, rounded without fractions, so that both languages print the same. */
export function amount(value: number): string {
  if (value < 1000) return String(value);
  let scale = 1000;
  let power = 0;
  while (2 * value >= 1999 * scale && power < 4) {
    scale *= 1000;
    power += 1;
  }
  let digits = 2;
  while (digits && 2 * value * 10 ** digits >= 1999 * scale) digits -= 1;
  const parts = 10 ** digits;
  const rounded = Math.floor((value * parts + scale / 2) / scale);
  const rest = String(rounded % parts).padStart(digits, "0").replace(/0+$/, "");
  return `${Math.floor(rounded / parts)}${digits && rest ? `.${rest}` : ""} ${"kMGTP"[power]}`;
}
