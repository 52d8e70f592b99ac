"""POST /detect: the bytes of a picture in, boxes as JSON out.

MODEL, ENGINE (onnxruntime, openvino, opencv), SIZE (WIDTHxHEIGHT), THREADS inside one run and RUNS
at once come from the environment. Start it with uvicorn, with --workers for more processes.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from asyncio import get_running_loop

import numpy as np
import orjson
from fastapi import FastAPI, HTTPException, Request, Response

from engines import ENGINES
from vision import decode, detections, letterbox

WIDTH, HEIGHT = map(int, os.environ.get("SIZE", "640x640").split("x"))
THREADS = int(os.environ.get("THREADS", "1"))
RUNS = int(os.environ.get("RUNS", "1"))

engine = ENGINES[os.environ.get("ENGINE", "onnxruntime")](
    os.environ["MODEL"], WIDTH, HEIGHT, THREADS, RUNS
)
engine.run(np.zeros((HEIGHT, WIDTH, 3), np.uint8))
# One more thread than runs: it decodes and scales the next picture while the model is busy.
pool = ThreadPoolExecutor(RUNS + int(os.environ.get("AHEAD", "0")))
app = FastAPI()


def detect(data: bytes) -> bytes:
    image = decode(data)
    picture, placement = letterbox(image, WIDTH, HEIGHT)
    found = detections(engine.run(picture), placement, image)
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
