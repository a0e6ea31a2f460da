// Which part of the map is seen, and how large.

export interface Place {
  x: number;
  y: number;
}

const LEAST_ROOM = 12; // around a map that is shown whole
const LARGEST = 4;

export class Camera {
  scale = 1;
  x = 0; // where the map's origin is on the screen
  y = 0;
  width = 1; // of the screen, in CSS pixels
  height = 1;
  below = 40; // of it, for the key to the colors

  toMap(at: Place): Place {
    return { x: (at.x - this.x) / this.scale, y: (at.y - this.y) / this.scale };
  }

  toScreen(at: Place): Place {
    return { x: at.x * this.scale + this.x, y: at.y * this.scale + this.y };
  }

  get seen(): [number, number, number, number] {
    const low = this.toMap({ x: 0, y: 0 });
    const high = this.toMap({ x: this.width, y: this.height });
    return [low.x, low.y, high.x, high.y];
  }

  /** Show a rectangle of the map whole, and not larger than life. */
  fit(x: number, y: number, width: number, height: number, most = 1): void {
    const wide = Math.max(this.width - 2 * LEAST_ROOM, 1);
    const tall = Math.max(this.height - 2 * LEAST_ROOM - this.below, 1);
    this.scale = Math.min(wide / Math.max(width, 1), tall / Math.max(height, 1), most);
    this.x = this.width / 2 - (x + width / 2) * this.scale;
    this.y = (this.height - this.below) / 2 - (y + height / 2) * this.scale;
  }

  /** Zoom by a factor around a place on the screen. */
  zoom(factor: number, at: Place): void {
    const scale = Math.min(Math.max(this.scale * factor, 1e-5), LARGEST);
    this.x = at.x - ((at.x - this.x) * scale) / this.scale;
    this.y = at.y - ((at.y - this.y) * scale) / this.scale;
    this.scale = scale;
  }

  /** Move as little as needed to see a rectangle, and zoom in where it would be too small to read. */
  show(x: number, y: number, width: number, height: number): void {
    if (this.scale < 0.6) this.zoom(0.8 / this.scale, { x: this.width / 2, y: this.height / 2 });
    const low = this.toScreen({ x, y });
    const high = this.toScreen({ x: x + width, y: y + height });
    const edge = 60;
    const within = low.x >= edge && low.y >= edge && high.x <= this.width - edge && high.y <= this.height - edge;
    if (within) return;
    this.x += this.width / 2 - (low.x + high.x) / 2;
    this.y += this.height / 2 - (low.y + high.y) / 2;
  }
}
