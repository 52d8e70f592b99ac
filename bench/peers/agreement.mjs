// Whether two servers find the same: every box that one is sure of has its like in the other.

// Scaling filters differ from server to server, which moves scores by hundredths and boxes by a
// few pixels; a box near the threshold may come and go.
const SURE = 0.4;
const SCORE = 0.12;
const OVERLAP = 0.8;

function iou(a, b) {
  const width = Math.min(a.x2, b.x2) - Math.max(a.x1, b.x1);
  const height = Math.min(a.y2, b.y2) - Math.max(a.y1, b.y1);
  if (width <= 0 || height <= 0) return 0;
  const area = (box) => (box.x2 - box.x1) * (box.y2 - box.y1);
  return (width * height) / (area(a) + area(b) - width * height);
}

const alike = (a, b) =>
  a.class_id === b.class_id && Math.abs(a.confidence - b.confidence) <= SCORE && iou(a.box, b.box) >= OVERLAP;

const missing = (from, inside, where) =>
  from
    .filter((one) => one.confidence >= SURE && !inside.some((other) => alike(one, other)))
    .map(({ class_id, confidence, box }) => {
      const corners = [box.x1, box.y1, box.x2, box.y2].map(Math.round).join(',');
      return `class ${class_id} of ${confidence.toFixed(2)} at ${corners} only in ${where}`;
    });

/** Sentences on what only one of them found; empty when they agree. */
export function differences(expected, found) {
  return [...missing(expected, found, 'the first'), ...missing(found, expected, 'the second')];
}
