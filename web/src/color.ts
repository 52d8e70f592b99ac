// The colour of a class, the same as nx_draw_class_color in src/vision/draw.c.

export function classColor(classId: number): string {
  const hue = (classId * 137.508) % 360;
  return `hsl(${hue} 85% 65%)`;
}
