// Mouse, pen and fingers on the map: move, zoom, point at, press.

import type { Camera, Place } from "./camera.ts";

const STILL = 4; // a press that moves less is a click

export interface Pointed {
  press(at: Place): void;
  hover(at: Place | null): void;
  changed(): void;
}

export function follow(canvas: HTMLCanvasElement, camera: Camera, to: Pointed): void {
  const fingers = new Map<number, Place>();
  let far = false;
  const at = (event: MouseEvent): Place => {
    const { left, top } = canvas.getBoundingClientRect();
    return { x: event.clientX - left, y: event.clientY - top };
  };
  const spread = (): [Place, number] => {
    const [a, b] = [...fingers.values()];
    return [{ x: (a.x + b.x) / 2, y: (a.y + b.y) / 2 }, Math.hypot(a.x - b.x, a.y - b.y)];
  };
  let start: Place = { x: 0, y: 0 };

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
  canvas.addEventListener(
    "wheel",
    (event) => {
      event.preventDefault();
      const lines = event.deltaMode === 1 ? 20 : 1;
      if (event.shiftKey) camera.x -= (event.deltaX || event.deltaY) * lines;
      else camera.zoom(Math.exp(-event.deltaY * lines * (event.ctrlKey ? 0.01 : 0.0018)), at(event));
      if (!event.shiftKey && event.deltaX) camera.x -= event.deltaX * lines;
      to.changed();
    },
    { passive: false },
  );
}
