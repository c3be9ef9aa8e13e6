"""The rate of a runtime alone: one ONNX bundle, frames in memory, nothing decoded or written.

    python model_only.py onnxruntime|openvino BUNDLE.onnx COUNT

Prints images a second: batches of 16, as many side by side as there are cores, one core each; for
OpenVINO what its throughput hint makes of it.
"""

from __future__ import annotations

import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np

BATCH = 16
runtime, path, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
frames = np.random.default_rng(0).integers(0, 256, (BATCH, 218, 178, 3), dtype=np.uint8)
cores = len(os.sched_getaffinity(0))
if runtime == "onnxruntime":
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name

    def run(batches: int) -> None:
        """Run so many batches."""
        with ThreadPoolExecutor(cores) as pool:
            list(pool.map(lambda _: session.run(None, {name: frames}), range(batches)))

else:
    import openvino

    core = openvino.Core()
    model = core.read_model(path)
    model.reshape([BATCH, 218, 178, 3])
    compiled = core.compile_model(model, "CPU", {"PERFORMANCE_HINT": "THROUGHPUT"})
    queue = openvino.AsyncInferQueue(compiled)

    def run(batches: int) -> None:
        """Run so many batches."""
        for _ in range(batches):
            queue.start_async({0: frames})
        queue.wait_all()


run(2 * cores)
start = time.perf_counter()
run(count // BATCH)
print(count // BATCH * BATCH / (time.perf_counter() - start))
