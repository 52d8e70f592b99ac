"""Video jobs of the guide's platform, in Celery: each process decodes, runs and writes for itself."""

import json
import os
from datetime import datetime, timezone
from pathlib import Path

import cv2
import redis
from celery import Celery

from engines import OnnxRuntime
from vision import detections, letterbox

folder = Path(os.environ["FOLDER"])
celery = Celery("tasks", broker=os.environ["BROKER"])
celery.conf.worker_prefetch_multiplier = 1
records = redis.from_url(os.environ["REDIS"])
engine = None


def now() -> str:
    return datetime.now(timezone.utc).isoformat()


@celery.task(name="analyse")
def analyse(job: str, video: str, stride: int):
    global engine
    records.hset(f"job:{job}", mapping={"state": "running", "started_at": now()})
    try:
        engine = engine or OnnxRuntime(os.environ["MODEL"], 640, 640, 1, 1)
        frames = boxes = 0
        film = cv2.VideoCapture(str(folder / f"{video}.mp4"))
        with open(folder / job / "frames.ndjson", "w") as out:
            while film.grab():
                if frames % stride == 0:
                    image = film.retrieve()[1]
                    picture, placement = letterbox(image, 640, 640)
                    found = detections(engine.run(picture), placement, image)
                    out.write(json.dumps({"frame": frames, "detections": found}) + "\n")
                    boxes += len(found)
                frames += 1
        summary = {"frames": frames, "detections": boxes}
        (folder / job / "summary.json").write_text(json.dumps(summary))
    except Exception as error:
        records.hset(f"job:{job}", mapping={"state": "failed", "error": str(error), "finished_at": now()})
        raise
    records.hset(f"job:{job}", mapping={"state": "succeeded", "finished_at": now()})
