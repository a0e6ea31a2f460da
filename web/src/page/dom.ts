// Making elements.  Text is only ever set as text, so that no name of a layer can become markup.

type Child = Node | string;
type Listener = (event: never) => void;

/** An element with attributes, listeners (keys that begin with "on") and children. */
export function make<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  given: Record<string, string | number | boolean | Listener> = {},
  ...children: Child[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  for (const [key, value] of Object.entries(given)) {
    if (typeof value === "function") element.addEventListener(key.slice(2), value as EventListener);
    else if (value === true) element.setAttribute(key, "");
    else if (value !== false) element.setAttribute(key, String(value));
  }
  element.append(...children);
  return element;
}

/** A button with a name for those who do not see its sign. */
export function button(sign: string, name: string, press: () => void, more: Record<string, string> = {}): HTMLButtonElement {
  return make("button", { type: "button", title: name, "aria-label": name, onclick: press, ...more }, sign);
}

/** Replace everything inside an element. */
export function fill(element: Element, ...children: Child[]): void {
  element.replaceChildren(...children);
}
