"""The guide's load for Locust: 1 to 500 users within 2 minutes, 10 minutes of them, 1080p pictures of which
REPEATS percent were asked for before; and video jobs of a clip of 1080p.

Locust's users wait for their answers before they ask again, so a slow server is asked less often than
planned: what people see of one is rather what bench/load/main.mjs says, whose load is open.

    pip install locust
    locust -f bench/load/locustfile.py --headless --host http://127.0.0.1:8000 ImageUser
    locust -f bench/load/locustfile.py --headless --host http://127.0.0.1:8000 VideoUser

From the environment: PICTURES (a folder of JPEGs), CLIP (a video), USERS (500; 50 for videos), RAMP
(120 s), HOLD (600 s), RATE of each user (1 request a second), REPEATS (80), API_KEY.
"""

import os
import random
import time
from itertools import count
from pathlib import Path

from locust import HttpUser, LoadTestShape, constant_throughput, task

HERE = Path(__file__).resolve().parent
SHARED = Path(os.environ.get("NEXUS_SHARED", HERE.parents[2] / "shared"))
PICTURES = Path(os.environ.get("PICTURES", SHARED / "images"))
CLIP = Path(os.environ.get("CLIP", SHARED / "videos/traffic-1080p.mp4"))
USERS = int(os.environ.get("USERS", "500"))
RAMP = float(os.environ.get("RAMP", "120"))
HOLD = float(os.environ.get("HOLD", "600"))
RATE = float(os.environ.get("RATE", "1"))
REPEATS = float(os.environ.get("REPEATS", "80"))
JOB_LIMIT = 3600  # seconds that a job may take
HEADERS = {"Authorization": f"Bearer {os.environ['API_KEY']}"} if "API_KEY" in os.environ else {}

pictures = [path.read_bytes() for path in sorted(PICTURES.glob("traffic-1080p-*.jpg"))]
pictures = pictures or [path.read_bytes() for path in sorted(PICTURES.glob("*.jpg"))]
marks = count()
run = os.urandom(8)


class Ramp(LoadTestShape):
    """One user at first, all of them after RAMP seconds, and the end after HOLD more."""

    def tick(self):
        passed = self.get_run_time()
        if passed > RAMP + HOLD:
            return None
        users = USERS if passed >= RAMP else 1 + int((USERS - 1) * passed / RAMP)
        return users, max(1.0, USERS / max(RAMP, 1))


class ImageUser(HttpUser):
    wait_time = constant_throughput(RATE)

    @task
    def detect(self):
        picture = random.choice(pictures)
        if random.uniform(0, 100) >= REPEATS:  # bytes behind its end make it another one
            picture += run + next(marks).to_bytes(8, "big")
        headers = {"Content-Type": "image/jpeg", **HEADERS}
        with self.client.post(
            "/api/v1/inference/image", data=picture, headers=headers, catch_response=True
        ) as answer:
            if answer.status_code in (429, 503) and "Retry-After" in answer.headers:
                answer.failure(f"refused with {answer.status_code}")
            elif answer.ok and "detections" not in answer.json():
                answer.failure("an answer without detections")


class VideoUser(HttpUser):
    """Uploads a clip, has it analysed and fetches the results, again and again."""

    wait_time = constant_throughput(RATE)

    @task
    def analyse(self):
        box = (24).to_bytes(4, "big") + b"free" + run + next(marks).to_bytes(8, "big")
        video = self.client.post(
            "/api/v1/videos",
            data=CLIP.read_bytes() + box,  # another video by a box of nothing
            headers={"Content-Type": "video/mp4", **HEADERS},
        ).json()
        job = self.client.post(
            "/api/v1/videos/process", json={"video_id": video["id"]}, headers=HEADERS
        ).json()
        place = f"/api/v1/jobs/{job['id']}"
        begin = time.monotonic()
        while job["state"] in ("queued", "running") and time.monotonic() - begin < JOB_LIMIT:
            time.sleep(1)
            job = self.client.get(place, headers=HEADERS, name="/api/v1/jobs/{id}").json()
        self.environment.events.request.fire(
            request_type="JOB",
            name="from submission to end",
            response_time=1000 * (time.monotonic() - begin),
            response_length=0,
            exception=None if job["state"] == "succeeded" else RuntimeError(job["state"]),
        )
        if job["state"] == "succeeded":
            name = "/api/v1/jobs/{id}/results/summary.json"
            self.client.get(f"{place}/results/summary.json", headers=HEADERS, name=name)
