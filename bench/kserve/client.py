#!/usr/bin/env python3
"""NVIDIA's HTTP client, unchanged, against a running Nexus: every call that the server supports.

bench/kserve/run installs it and calls this.
"""

import argparse
import sys
import time

import numpy as np
import tritonclient.http as http
from tritonclient.utils import InferenceServerException

checks = 0


def check(condition, what):
    """Counts a check, and ends the program when it does not hold."""
    global checks
    if not condition:
        sys.exit(f"FAILED: {what}")
    checks += 1
    print(f"  ok  {what}")


def refused(call, status, part):
    """The call must be answered with this status and a message that has this part."""
    try:
        call()
    except InferenceServerException as error:
        ok = error.status() == status and part in error.message()
        check(ok, f"refused with {status}: {error.message()[:90]}")
        return
    check(False, f"nothing refused: {part}")


def about_the_server(client, model):
    check(client.is_server_live(), "server live")
    check(client.is_server_ready(), "server ready")
    metadata = client.get_server_metadata()
    check("binary_tensor_data" in metadata["extensions"], f"server {metadata['name']} {metadata['version']}")
    check(client.is_model_ready(model), "model ready")
    check(client.is_model_ready(model, "1"), "model version 1 ready")
    check(not client.is_model_ready("no-such-model"), "unknown model not ready")
    metadata = client.get_model_metadata(model)
    config = client.get_model_config(model)
    check(metadata["name"] == model and config["name"] == model, "metadata and configuration")
    names = [entry["name"] for entry in client.get_model_repository_index()]
    check(model in names, f"repository index: {', '.join(names)}")
    return metadata, config


def random_input(metadata):
    """One input of the model, filled with noise; free dimensions are a batch of 1 and 640."""
    port = metadata["inputs"][0]
    shape = [size if size > 0 else (1 if i == 0 else 640) for i, size in enumerate(port["shape"])]
    types = {"FP32": np.float32, "FP16": np.float16, "UINT8": np.uint8}
    data = np.random.default_rng(1).random(shape)
    return port, (data * (255 if port["datatype"] == "UINT8" else 1)).astype(types[port["datatype"]])


def tensors(client, model, metadata):
    port, data = random_input(metadata)
    output = metadata["outputs"][0]["name"]

    def infer(binary_in, binary_out, **more):
        given = http.InferInput(port["name"], list(data.shape), port["datatype"])
        given.set_data_from_numpy(data, binary_data=binary_in)
        wanted = [http.InferRequestedOutput(output, binary_data=binary_out)]
        return client.infer(model, [given], outputs=wanted, **more)

    started = time.perf_counter()
    binary = infer(True, True, request_id="one")
    first = time.perf_counter()
    check(binary.get_response()["id"] == "one", "request id is echoed")
    expected = binary.as_numpy(output)
    check(np.isfinite(expected).all(), f"binary: {output} {expected.shape}")
    if port["datatype"] != "FP16":
        started_json = time.perf_counter()
        text = infer(False, False)
        print(f"      binary {1e3 * (first - started):.0f} ms, JSON {1e3 * (time.perf_counter() - started_json):.0f} ms")
        check((text.as_numpy(output) == expected).all(), "JSON in and out: the very same numbers")
    given = http.InferInput(port["name"], list(data.shape), port["datatype"])
    given.set_data_from_numpy(data)
    check((client.infer(model, [given]).as_numpy(output) == expected).all(), "all outputs, by default")
    pending = [client.async_infer(model, [given]) for _ in range(4)]
    check(all((p.get_result().as_numpy(output) == expected).all() for p in pending), "four at once")
    refused(lambda: client.infer("no-such-model", [given]), "404", "no-such-model")
    refused(lambda: client.infer(model, [given], model_version="999"), "404", "999")
    refused(lambda: client.infer(model, [given], outputs=[http.InferRequestedOutput("nothing")]), "400", "nothing")
    refused(lambda: client.infer(model, [given], request_compression_algorithm="gzip"), "415", "gzip")
    check((client.infer(model, [given], response_compression_algorithm="gzip").as_numpy(output) == expected).all(),
          "an answer that might be compressed")
    wrong = http.InferInput(port["name"], list(data.shape) + [1], port["datatype"])
    wrong.set_data_from_numpy(data[..., None])
    refused(lambda: client.infer(model, [wrong]), "400", port["name"])


def pictures(client, model, path):
    with open(path, "rb") as file:
        picture = file.read()
    elements = np.array([picture, picture], dtype=np.object_)
    given = http.InferInput("image", [2], "BYTES")
    given.set_data_from_numpy(elements)
    for name in (model, f"{model}.image"):
        result = client.infer(name, [given], parameters={"confidence": 0.5})
        count = result.as_numpy("num_detections")
        boxes = result.as_numpy("boxes")
        check(count[0] == count[1] and count[0] > 0 and boxes.shape == (2, count[0], 4),
              f"{name}: {count[0]} detections in each of two pictures")
        check((result.as_numpy("scores") >= 0.5).all(), "none below the confidence asked for")
    broken = http.InferInput("image", [1], "BYTES")
    broken.set_data_from_numpy(np.array([b"no picture"], dtype=np.object_))
    refused(lambda: client.infer(model, [broken]), "400", "")


def statistics(client, model):
    before = client.get_inference_statistics(model)["model_stats"][0]
    check(before["inference_count"] > 0, f"statistics: {before['inference_count']} inferences, "
          f"{before['inference_stats']['fail']['count']} failed")
    check(len(client.get_inference_statistics()["model_stats"]) > 0, "statistics of all models")


def repository(client, model):
    client.load_model(model)
    check(client.is_model_ready(model), "loaded again")
    refused(lambda: client.load_model("no-such-model"), "404", "no-such-model")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", default="127.0.0.1:8000")
    parser.add_argument("--model", default="yolov8n")
    parser.add_argument("--image", required=True)
    options = parser.parse_args()
    client = http.InferenceServerClient(options.url, concurrency=4, network_timeout=120, connection_timeout=120)
    metadata, _ = about_the_server(client, options.model)
    tensors(client, options.model, metadata)
    pictures(client, options.model, options.image)
    statistics(client, options.model)
    repository(client, options.model)
    print(f"{checks} checks with tritonclient, all good")


main()
