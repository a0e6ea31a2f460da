// Printing: vectors in place of the canvas, which has the shape of the screen and the colors of its theme.

import { svgOf } from "./export.ts";
import type { Screen } from "./screen.ts";
import type { Shell } from "./shell.ts";
import type { State } from "./state.ts";

/** Lay the map out for paper before it is printed, and take that away afterwards; paper is light. */
export function onPrint(shell: Shell, screen: Screen, state: State, wear: (dark: boolean) => void): void {
  let dark = false;
  addEventListener("beforeprint", () => {
    if (shell.paper.firstChild) return;
    dark = screen.theme.dark;
    if (dark) wear(false);
    shell.paper.append(svgOf(state, screen.onPaper()));
    shell.root.classList.add("printed");
  });
  addEventListener("afterprint", () => {
    shell.root.classList.remove("printed");
    shell.paper.replaceChildren();
    if (dark) wear(true);
  });
}
