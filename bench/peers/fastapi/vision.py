"""A JPEG to the input of a YOLOv8 model, and its output to boxes; the same for every engine."""

import cv2
import numpy as np

CONFIDENCE = 0.25
IOU = 0.45

cv2.setNumThreads(1)  # requests run side by side; threads inside one would only get in their way


def decode(data: bytes) -> np.ndarray:
    """A picture as BGR, upright (imdecode follows EXIF)."""
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    if image is None:
        raise ValueError("not a picture")
    return image


def letterbox(image: np.ndarray, width: int, height: int):
    """Scaled to fit width x height and padded with 114; with the scale and offset of the picture."""
    h, w = image.shape[:2]
    scale = min(width / w, height / h)
    fit_w, fit_h = round(w * scale), round(h * scale)
    left, top = (width - fit_w) // 2, (height - fit_h) // 2
    canvas = np.full((height, width, 3), 114, np.uint8)
    cv2.resize(image, (fit_w, fit_h), dst=canvas[top : top + fit_h, left : left + fit_w])
    return canvas, (scale, left, top)


def detections(output: np.ndarray, placement, image: np.ndarray) -> list[dict]:
    """Boxes of [4 + classes, anchors] in pixels of the picture, after NMS within each class."""
    scores = output[4:].max(axis=0)
    found = np.flatnonzero(scores > CONFIDENCE)
    candidates = output[:, found].T
    scores = scores[found]
    classes = candidates[:, 4:].argmax(axis=1)
    corners = candidates[:, :4].copy()
    corners[:, :2] -= corners[:, 2:] / 2  # centre to corner
    keep = cv2.dnn.NMSBoxesBatched(corners, scores, classes, CONFIDENCE, IOU)

    scale, left, top = placement
    h, w = image.shape[:2]
    boxes = []
    for i in keep:
        x, y, box_w, box_h = corners[i]
        x1, y1 = (x - left) / scale, (y - top) / scale
        x2, y2 = x1 + box_w / scale, y1 + box_h / scale
        boxes.append(
            {
                "class_id": int(classes[i]),
                "confidence": float(scores[i]),
                "box": {
                    "x1": float(min(max(x1, 0), w)),
                    "y1": float(min(max(y1, 0), h)),
                    "x2": float(min(max(x2, 0), w)),
                    "y2": float(min(max(y2, 0), h)),
                },
            }
        )
    return boxes
