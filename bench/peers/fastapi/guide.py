"""The platform that the guide describes, over app.py: predictions kept in Redis for five minutes by the
hash of the picture, and videos that a Celery worker analyses (tasks.py).

REDIS is Redis's URL, FOLDER has videos and results; besides what app.py takes.
"""

import hashlib
import os
import uuid
from asyncio import get_running_loop
from pathlib import Path

import redis.asyncio as redis
from fastapi import HTTPException, Request, Response
from fastapi.responses import FileResponse

from app import app, detect, pool
from tasks import analyse, now

KEPT = 300  # seconds
folder = Path(os.environ["FOLDER"])
cache = redis.from_url(os.environ["REDIS"])


@app.post("/api/v1/inference/image")
async def post_image(request: Request):
    data = await request.body()
    key = "prediction:" + hashlib.sha256(data).hexdigest()
    found = await cache.get(key)
    origin = "hit" if found else "miss"
    if not found:
        try:
            found = await get_running_loop().run_in_executor(pool, detect, data)
        except ValueError as error:
            raise HTTPException(422, str(error)) from error
        await cache.set(key, found, ex=KEPT)
    return Response(found, media_type="application/json", headers={"X-Cache": origin})


@app.post("/api/v1/videos", status_code=201)
async def post_video(request: Request):
    name = str(uuid.uuid4())
    with open(folder / f"{name}.mp4", "wb") as file:
        async for chunk in request.stream():
            file.write(chunk)
    return {"id": name}


@app.post("/api/v1/videos/process", status_code=202)
async def post_process(order: dict):
    job = str(uuid.uuid4())
    (folder / job).mkdir()
    await cache.hset(f"job:{job}", mapping={"state": "queued", "created_at": now()})
    analyse.apply_async((job, order["video_id"], order.get("stride", 1)))
    return {"id": job, "state": "queued"}


@app.get("/api/v1/jobs/{job}")
async def get_job(job: uuid.UUID):
    fields = await cache.hgetall(f"job:{job}")
    return {"id": str(job), **{name.decode(): value.decode() for name, value in fields.items()}}


@app.get("/api/v1/jobs/{job}/results/{name}")
async def get_result(job: uuid.UUID, name: str):
    if name not in ("frames.ndjson", "summary.json"):
        raise HTTPException(404)
    return FileResponse(folder / str(job) / name)
