// Mouse, pen and fingers on the map: move, zoom, point at, press.

import type { Camera, Place } from "./camera.ts";

const STILL = 4; // a press that moves less is a click
const LINE = 20; // pixels of a line, in which some browsers count turns of the wheel

export interface Pointed {
  press(at: Place): void;
  hover(at: Place | null): void;
  changed(): void;
}

/** What Safari on a Mac tells of two fingers on the trackpad, where others tell a wheel with Ctrl. */
interface Gesture extends MouseEvent {
  scale: number; // since the fingers were laid down
}

export function follow(canvas: HTMLElement, camera: Camera, to: Pointed): void {
  const fingers = new Map<number, Place>();
  const at = (event: MouseEvent): Place => {
    const { left, top } = canvas.getBoundingClientRect();
    return { x: event.clientX - left, y: event.clientY - top };
  };
  press(canvas, camera, to, fingers, at);
  turn(canvas, camera, to, at);
  pinch(canvas, camera, to, fingers, at);
}

type At = (event: MouseEvent) => Place;

function press(canvas: HTMLElement, camera: Camera, to: Pointed, fingers: Map<number, Place>, at: At): void {
  let far = false;
  let start: Place = { x: 0, y: 0 };
  const spread = (): [Place, number] => {
    const [a, b] = [...fingers.values()];
    return [{ x: (a.x + b.x) / 2, y: (a.y + b.y) / 2 }, Math.hypot(a.x - b.x, a.y - b.y)];
  };
  canvas.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    canvas.setPointerCapture(event.pointerId);
    fingers.set(event.pointerId, at(event));
    start = at(event);
    far = fingers.size > 1;
  });
  canvas.addEventListener("pointermove", (event) => {
    const now = at(event);
    const before = fingers.get(event.pointerId);
    if (!before) return to.hover(now);
    if (!far && Math.hypot(now.x - start.x, now.y - start.y) < STILL) return;
    far = true;
    if (fingers.size === 1) {
      camera.x += now.x - before.x;
      camera.y += now.y - before.y;
      fingers.set(event.pointerId, now);
    } else {
      const [middle, apart] = spread();
      fingers.set(event.pointerId, now);
      const [next, wider] = spread();
      camera.x += next.x - middle.x;
      camera.y += next.y - middle.y;
      camera.zoom(wider / Math.max(apart, 1), next);
    }
    to.hover(null);
    to.changed();
  });
  const released = (event: PointerEvent): void => {
    if (fingers.delete(event.pointerId) && !far && event.type === "pointerup") to.press(at(event));
  };
  canvas.addEventListener("pointerup", released);
  canvas.addEventListener("pointercancel", released);
  canvas.addEventListener("pointerleave", () => to.hover(null));
}

function turn(canvas: HTMLElement, camera: Camera, to: Pointed, at: At): void {
  const moved = (event: WheelEvent): void => {
    event.preventDefault();
    const unit = [1, LINE, camera.height][event.deltaMode]; // asked first: then Firefox counts lines, as it says
    if (event.shiftKey) camera.x -= (event.deltaX || event.deltaY) * unit;
    else camera.zoom(Math.exp(-event.deltaY * unit * (event.ctrlKey ? 0.01 : 0.0018)), at(event));
    if (!event.shiftKey && event.deltaX) camera.x -= event.deltaX * unit;
    to.changed();
  };
  canvas.addEventListener("wheel", moved, { passive: false });
}

function pinch(canvas: HTMLElement, camera: Camera, to: Pointed, fingers: Map<number, Place>, at: At): void {
  let before = 1;
  const moved = (event: Event): void => {
    event.preventDefault(); // else the whole page is zoomed
    if (event.type === "gesturestart") before = 1;
    if (event.type !== "gesturechange" || fingers.size) return; // fingers on the screen itself are followed one by one
    const { scale } = event as Gesture;
    camera.zoom(scale / before, at(event as Gesture));
    before = scale;
    to.changed();
  };
  for (const type of ["gesturestart", "gesturechange", "gestureend"]) canvas.addEventListener(type, moved);
}
