// Two pens that draw the same things: on a canvas, and into an SVG picture.

import { FONT } from "./theme.ts";

export interface Pen {
  rect(x: number, y: number, width: number, height: number, radius: number, fill: string | null, stroke: string | null, line: number): void;
  /** The upper part of a card: rounded above, straight below. */
  bar(x: number, y: number, width: number, height: number, radius: number, fill: string): void;
  /** Wires: corners from `from` to `to`, sideways parts as curves along the direction of the map. */
  wires(spans: [number, number][], corners: Float64Array, down: boolean, color: string, line: number): void;
  arrow(x: number, y: number, down: boolean, size: number, color: string): void;
  text(what: string, x: number, y: number, size: number, bold: boolean, color: string, widest: number, amid?: boolean): void;
  /** Text that stays readable over lines: with a rim of the color of the ground. */
  label(what: string, x: number, y: number, size: number, bold: boolean, color: string, ground: string, widest: number): void;
  image(picture: HTMLCanvasElement, x: number, y: number, width: number, height: number): void;
  /** What `draw` draws, moved, and only what lies in a rectangle (before it is moved). */
  moved(x: number, y: number, within: [number, number, number, number], draw: () => void): void;
}

interface Tracer {
  moveTo(x: number, y: number): void;
  lineTo(x: number, y: number): void;
  bezierCurveTo(a: number, b: number, c: number, d: number, x: number, y: number): void;
}

function trace(path: Tracer, corners: Float64Array, from: number, to: number, down: boolean): void {
  let x = corners[from];
  let y = corners[from + 1];
  path.moveTo(x, y);
  for (let k = from + 2; k < to; k += 2) {
    const nextX = corners[k];
    const nextY = corners[k + 1];
    const straight = down ? nextX === x : nextY === y;
    if (straight) path.lineTo(nextX, nextY);
    else if (down) path.bezierCurveTo(x, (y + nextY) / 2, nextX, (y + nextY) / 2, nextX, nextY);
    else path.bezierCurveTo((x + nextX) / 2, y, (x + nextX) / 2, nextY, nextX, nextY);
    x = nextX;
    y = nextY;
  }
}

const heads = (x: number, y: number, down: boolean, s: number): [number, number][] =>
  down ? [[x, y], [x - s * 0.6, y - s], [x + s * 0.6, y - s]] : [[x, y], [x - s, y - s * 0.6], [x - s, y + s * 0.6]];

export class CanvasPen implements Pen {
  constructor(private readonly to: CanvasRenderingContext2D) {}

  rect(x: number, y: number, w: number, h: number, r: number, fill: string | null, stroke: string | null, line: number): void {
    const { to } = this;
    if (fill && !r) {
      to.fillStyle = fill;
      to.fillRect(x, y, w, h);
    }
    if (!stroke && !r) return;
    to.beginPath();
    to.roundRect(x, y, w, h, r);
    if (fill && r) {
      to.fillStyle = fill;
      to.fill();
    }
    if (!stroke) return;
    to.strokeStyle = stroke;
    to.lineWidth = line;
    to.stroke();
  }

  bar(x: number, y: number, w: number, h: number, r: number, fill: string): void {
    this.to.fillStyle = fill;
    this.to.beginPath();
    this.to.roundRect(x, y, w, h, [r, r, 0, 0]);
    this.to.fill();
  }

  wires(spans: [number, number][], corners: Float64Array, down: boolean, color: string, line: number): void {
    const { to } = this;
    to.strokeStyle = color;
    to.lineWidth = line;
    to.beginPath();
    for (const [from, end] of spans) trace(to, corners, from, end, down);
    to.stroke();
  }

  arrow(x: number, y: number, down: boolean, size: number, color: string): void {
    const { to } = this;
    to.fillStyle = color;
    to.beginPath();
    heads(x, y, down, size).forEach(([a, b], i) => (i ? to.lineTo(a, b) : to.moveTo(a, b)));
    to.fill();
  }

  text(what: string, x: number, y: number, size: number, bold: boolean, color: string, widest: number, amid = false): void {
    const { to } = this;
    to.font = `${bold ? "600 " : ""}${size}px ${FONT}`;
    to.fillStyle = color;
    to.textAlign = amid ? "center" : "left";
    to.textBaseline = "alphabetic";
    to.fillText(what, x, y, widest);
  }

  label(what: string, x: number, y: number, size: number, bold: boolean, color: string, ground: string, widest: number): void {
    const { to } = this;
    to.font = `${bold ? "600 " : ""}${size}px ${FONT}`;
    to.textAlign = "left";
    to.strokeStyle = ground;
    to.lineWidth = size / 3;
    to.lineJoin = "round";
    to.strokeText(what, x, y, widest);
    this.text(what, x, y, size, bold, color, widest);
  }

  image(picture: HTMLCanvasElement, x: number, y: number, w: number, h: number): void {
    this.to.imageSmoothingEnabled = false;
    this.to.drawImage(picture, x, y, w, h);
  }

  moved(x: number, y: number, within: [number, number, number, number], draw: () => void): void {
    this.to.save();
    this.to.translate(x, y);
    this.to.beginPath();
    this.to.rect(...within);
    this.to.clip();
    draw();
    this.to.restore();
  }
}

const SVG = "http://www.w3.org/2000/svg";
const short = (v: number): string => String(Math.round(v * 100) / 100);

/** A path in the words of SVG. */
class Words implements Tracer {
  text = "";
  moveTo(x: number, y: number): void {
    this.text += `M${short(x)} ${short(y)}`;
  }
  lineTo(x: number, y: number): void {
    this.text += `L${short(x)} ${short(y)}`;
  }
  bezierCurveTo(...v: number[]): void {
    this.text += `C${v.map(short).join(" ")}`;
  }
}

export class SvgPen implements Pen {
  readonly root: SVGSVGElement;
  private into: SVGElement;

  constructor(box: [number, number, number, number], background: string) {
    this.root = document.createElementNS(SVG, "svg");
    this.into = this.root;
    this.root.setAttribute("viewBox", box.map(short).join(" "));
    this.root.setAttribute("width", short(box[2]));
    this.root.setAttribute("height", short(box[3]));
    this.root.setAttribute("font-family", FONT);
    this.rect(...box, 0, background, null, 0);
  }

  private add(tag: string, given: Record<string, string | number | null>): SVGElement {
    const element = document.createElementNS(SVG, tag);
    for (const [key, value] of Object.entries(given)) {
      if (value !== null) element.setAttribute(key, typeof value === "number" ? short(value) : value);
    }
    return this.into.appendChild(element);
  }

  rect(x: number, y: number, width: number, height: number, rx: number, fill: string | null, stroke: string | null, line: number): void {
    this.add("rect", { x, y, width, height, rx, fill: fill ?? "none", stroke, "stroke-width": stroke ? line : null });
  }

  bar(x: number, y: number, w: number, h: number, r: number, fill: string): void {
    const d = `M${short(x)} ${short(y + h)}v${short(r - h)}a${r} ${r} 0 0 1 ${r} ${-r}h${short(w - 2 * r)}a${r} ${r} 0 0 1 ${r} ${r}v${short(h - r)}z`;
    this.add("path", { d, fill });
  }

  wires(spans: [number, number][], corners: Float64Array, down: boolean, color: string, line: number): void {
    const words = new Words();
    for (const [from, to] of spans) trace(words, corners, from, to, down);
    if (words.text) this.add("path", { d: words.text, fill: "none", stroke: color, "stroke-width": line });
  }

  arrow(x: number, y: number, down: boolean, size: number, fill: string): void {
    this.add("polygon", { points: heads(x, y, down, size).map((p) => p.map(short).join(",")).join(" "), fill });
  }

  text(what: string, x: number, y: number, size: number, bold: boolean, fill: string, _: number, amid = false): void {
    this.write(what, { x, y, fill, "font-size": size, "font-weight": bold ? "600" : null, "text-anchor": amid ? "middle" : null });
  }

  label(what: string, x: number, y: number, size: number, bold: boolean, fill: string, stroke: string): void {
    const rim = { stroke, "stroke-width": size / 3, "stroke-linejoin": "round", "paint-order": "stroke" };
    this.write(what, { x, y, fill, "font-size": size, "font-weight": bold ? "600" : null, ...rim });
  }

  private write(what: string, given: Record<string, string | number | null>): void {
    this.add("text", given).textContent = what.replace(/[\u0000-\u001f\ufffe\uffff]/g, " "); // not allowed in XML
  }

  image(picture: HTMLCanvasElement, x: number, y: number, width: number, height: number): void {
    this.add("image", { x, y, width, height, href: picture.toDataURL(), "image-rendering": "pixelated" });
  }

  moved(x: number, y: number, within: [number, number, number, number], draw: () => void): void {
    const around = this.into;
    const id = `part-${this.root.querySelectorAll("clipPath").length}`;
    this.into = this.add("clipPath", { id });
    this.rect(...within, 0, "none", null, 0);
    this.into = around;
    this.into = this.add("g", { transform: `translate(${short(x)} ${short(y)})`, "clip-path": `url(#${id})` });
    draw();
    this.into = around;
  }
}
