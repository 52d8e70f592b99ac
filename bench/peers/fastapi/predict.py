"""POST /detect as in app.py, by Ultralytics' own predict on the ONNX file.

MODEL names it; the package runs it with ONNX Runtime, which takes all cores for a Run. A predictor
is not safe for threads: one picture at a time in each process.
"""

import os
from asyncio import get_running_loop
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import orjson
from fastapi import FastAPI, HTTPException, Request, Response
from ultralytics import YOLO

from vision import CONFIDENCE, IOU, decode

SIZE = 640

model = YOLO(os.environ["MODEL"], task="detect")


def predict(image: np.ndarray):
    return model.predict(image, imgsz=SIZE, conf=CONFIDENCE, iou=IOU, device="cpu", verbose=False)[0]


predict(np.zeros((SIZE, SIZE, 3), np.uint8))
pool = ThreadPoolExecutor(1)
app = FastAPI()


def detect(data: bytes) -> bytes:
    image = decode(data)
    found = [
        {
            "class_id": int(class_id),
            "confidence": float(confidence),
            "box": {"x1": float(x1), "y1": float(y1), "x2": float(x2), "y2": float(y2)},
        }
        for x1, y1, x2, y2, confidence, class_id in predict(image).boxes.data.tolist()
    ]
    size = {"width": image.shape[1], "height": image.shape[0]}
    return orjson.dumps({"image": size, "detections": found})


@app.post("/detect")
async def post_detect(request: Request):
    data = await request.body()
    try:
        body = await get_running_loop().run_in_executor(pool, detect, data)
    except ValueError as error:
        raise HTTPException(422, str(error)) from error
    return Response(body, media_type="application/json")


@app.get("/health")
async def health():
    return {"status": "ok"}
