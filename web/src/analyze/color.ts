// The colour of a class, the same to the bit as nx_draw_class_color in src/vision/draw.h, whose
// comment explains the formula: pictures that the server draws match what the page shows.

const low = 110;
const high = 247;

export function classColor(classId: number): string {
  const hue = ((classId >>> 0) * 137_508) % 360_000;
  const step = Math.floor(((hue % 60_000) * (high - low)) / 60_000);
  const up = low + step;
  const down = high - step;
  const sectors = [
    [high, up, low],
    [down, high, low],
    [low, high, up],
    [low, down, high],
    [up, low, high],
    [high, low, down],
  ];
  return `rgb(${sectors[Math.floor(hue / 60_000)]?.join(' ')})`;
}
