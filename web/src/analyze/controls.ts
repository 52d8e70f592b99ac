// The sliders.

import { byId, setProperty } from '../dom.ts';
import type { AppStore } from './state.ts';

export function setUpControls(store: AppStore): void {
  for (const key of ['confidence', 'iou'] as const) {
    const slider = byId<HTMLInputElement>(key);
    slider.addEventListener('input', () => store.set({ [key]: slider.valueAsNumber }));
    store.watch([key], (state) => {
      slider.value = String(state[key]);
      setProperty(slider, '--filled', `${state[key] * 100}%`);
      byId(`${key}-value`).textContent = state[key].toFixed(2);
    });
  }
}
