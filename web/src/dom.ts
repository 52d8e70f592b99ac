// Small helpers for the DOM. No innerHTML anywhere: names come from models and files.

/** The element with this id, which the page's HTML is known to have. */
export function byId<E extends HTMLElement = HTMLElement>(id: string): E {
  const element = document.getElementById(id);
  if (!element) {
    throw new Error(`the page has no #${id}`);
  }
  return element as E;
}

type Child = Node | string;

export function create<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  properties: Partial<HTMLElementTagNameMap[K]>,
  ...children: Child[]
): HTMLElementTagNameMap[K] {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

/** A CSS custom property; setting it so is allowed where style attributes are not. */
export function setProperty(element: HTMLElement, name: `--${string}`, value: string): void {
  element.style.setProperty(name, value);
}
