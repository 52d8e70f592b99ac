"""The engines behind the same server. Each takes a letterboxed BGR picture and gives the raw output.

run() is called by several threads at once.
"""

import queue
from concurrent.futures import Future

import cv2
import numpy as np


class OnnxRuntime:
    """One session; a Run releases the GIL, so threads run it side by side."""

    def __init__(self, model: str, width: int, height: int, threads: int, runs: int):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self.session = onnxruntime.InferenceSession(
            model, options, providers=["CPUExecutionProvider"]
        )
        self.input = self.session.get_inputs()[0].name

    def run(self, picture: np.ndarray) -> np.ndarray:
        blob = cv2.dnn.blobFromImage(picture, 1 / 255, swapRB=True)
        return self.session.run(None, {self.input: blob})[0][0]


class OpenVino:
    """An asynchronous queue of requests; colour, layout and scaling are compiled into the model."""

    def __init__(self, model: str, width: int, height: int, threads: int, runs: int):
        import openvino as ov

        network = ov.Core().read_model(model)
        network.reshape([1, 3, height, width])
        steps = ov.preprocess.PrePostProcessor(network)
        steps.input().tensor().set_element_type(ov.Type.u8).set_layout(ov.Layout("NHWC"))
        steps.input().tensor().set_color_format(ov.preprocess.ColorFormat.BGR)
        steps.input().model().set_layout(ov.Layout("NCHW"))
        steps.input().preprocess().convert_element_type(ov.Type.f32)
        steps.input().preprocess().convert_color(ov.preprocess.ColorFormat.RGB).scale(255.0)
        config = {"PERFORMANCE_HINT": "THROUGHPUT" if runs > 1 else "LATENCY"}
        if runs > 1:
            config |= {"NUM_STREAMS": runs, "INFERENCE_NUM_THREADS": runs * threads}
        compiled = ov.Core().compile_model(steps.build(), "CPU", config)
        self.requests = ov.AsyncInferQueue(compiled, runs)
        self.requests.set_callback(self.finished)

    @staticmethod
    def finished(request, future: Future):
        future.set_result(request.get_output_tensor(0).data[0].copy())

    def run(self, picture: np.ndarray) -> np.ndarray:
        future = Future()
        self.requests.start_async({0: picture[None]}, future)
        return future.result()


class OpenCv:
    """cv2.dnn; a net is not safe for threads, so there is one for each run."""

    def __init__(self, model: str, width: int, height: int, threads: int, runs: int):
        self.nets = queue.SimpleQueue()
        for _ in range(runs):
            self.nets.put(cv2.dnn.readNetFromONNX(model))
        cv2.setNumThreads(threads)

    def run(self, picture: np.ndarray) -> np.ndarray:
        blob = cv2.dnn.blobFromImage(picture, 1 / 255, swapRB=True)
        net = self.nets.get()
        try:
            net.setInput(blob)
            return net.forward()[0]
        finally:
            self.nets.put(net)


ENGINES = {"onnxruntime": OnnxRuntime, "openvino": OpenVino, "opencv": OpenCv}
