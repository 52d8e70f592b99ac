// Light and dark: the system's choice until the visitor makes one. theme.js has set the start.

import { byId } from './dom.ts';

type Theme = 'light' | 'dark';

const key = 'nexus-theme';
const system = matchMedia('(prefers-color-scheme: dark)');
const systemTheme = (): Theme => (system.matches ? 'dark' : 'light');

function storedTheme(): Theme | null {
  try {
    return localStorage.getItem(key) as Theme | null;
  } catch {
    return null; // storage is forbidden
  }
}

function storeTheme(theme: Theme): void {
  try {
    if (theme === systemTheme()) {
      localStorage.removeItem(key);
    } else {
      localStorage.setItem(key, theme);
    }
  } catch {
    // Then the choice lasts as long as the page.
  }
}

export function setUpTheme(onChange: (theme: Theme) => void = () => undefined): void {
  const button = byId('theme');
  const root = document.documentElement;

  const show = (theme: Theme): void => {
    root.dataset['theme'] = theme;
    button.setAttribute('aria-label', `Switch to the ${theme === 'dark' ? 'light' : 'dark'} theme`);
    onChange(theme);
  };

  button.addEventListener('click', () => {
    const next: Theme = root.dataset['theme'] === 'dark' ? 'light' : 'dark';
    storeTheme(next);
    show(next);
  });
  system.addEventListener('change', () => show(storedTheme() ?? systemTheme()));
  show(storedTheme() ?? systemTheme());
}
