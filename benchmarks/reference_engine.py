"""The same trunk in Keras or in ONNX Runtime: a process that the trunk's benchmark drives.

It runs in an environment of its own and imports nothing of the project. Each line it reads asks
for one pass over all slices; each line it writes holds the seconds the pass took (of the
processor, if there is one thread).
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["main"]

#: Convolutions of each of VGG16's blocks.
_BLOCKS = (2, 2, 3, 3, 3)
_BATCH = {"keras": 32, "onnx": 8}


def _keras_engine(weights: dict[str, Any], threads: int, n_blocks: int) -> Callable[[Any], Any]:
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    import keras
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    model = keras.applications.VGG16(include_top=False, weights=None)
    convolutions = [layer for layer in model.layers if "conv" in layer.name]
    for number, layer in enumerate(convolutions):
        kernel = weights[f"kernel{number}"].transpose(2, 3, 1, 0)
        layer.set_weights([kernel, weights[f"bias{number}"]])
    model = keras.Model(model.inputs, model.get_layer(f"block{n_blocks}_pool").output)

    def run(x: Any) -> Any:
        return model.predict(x, batch_size=_BATCH["keras"], verbose=0).transpose(0, 3, 1, 2)

    return run


def _onnx_engine(weights: dict[str, Any], threads: int, n_blocks: int) -> Callable[[Any], Any]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(
        _onnx_model(weights, n_blocks), options, providers=["CPUExecutionProvider"]
    )

    def run(x: Any) -> Any:
        size = _BATCH["onnx"]
        parts = [x[i : i + size] for i in range(0, len(x), size)]
        return np.concatenate([session.run(None, {"x": part})[0] for part in parts])

    return run


def _onnx_model(weights: dict[str, Any], n_blocks: int) -> bytes:
    from onnx import TensorProto, checker, helper, numpy_helper

    nodes, tensors = [], []
    last, number = "x", 0
    for block, convolutions in enumerate(_BLOCKS[:n_blocks], start=1):
        for _ in range(convolutions):
            names = [f"kernel{number}", f"bias{number}"]
            tensors += [numpy_helper.from_array(weights[name], name) for name in names]
            conv, relu = f"conv{number}", f"relu{number}"
            nodes.append(
                helper.make_node(
                    "Conv", [last, *names], [conv], kernel_shape=[3, 3], pads=[1, 1, 1, 1]
                )
            )
            nodes.append(helper.make_node("Relu", [conv], [relu]))
            last, number = relu, number + 1
        pool = f"pool{block}"
        nodes.append(
            helper.make_node("MaxPool", [last], [pool], kernel_shape=[2, 2], strides=[2, 2])
        )
        last = pool
    graph = helper.make_graph(
        nodes,
        "vgg16",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, "h", "w"])],
        [helper.make_tensor_value_info(last, TensorProto.FLOAT, ["n", "c", "y", "x"])],
        tensors,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    checker.check_model(model)
    return bytes(model.SerializeToString())


def main() -> None:
    """Read the network and the slices, then run whenever asked."""
    parser = argparse.ArgumentParser()
    parser.add_argument("engine", choices=["keras", "onnx"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("threads", type=int)
    parser.add_argument("n_blocks", type=int, help="of the network, from the first")
    arguments = parser.parse_args()
    with np.load(arguments.folder / "network.npz") as stored:
        weights = {name: stored[name] for name in stored.files}
    # The network's input is made outside the measured time, in the layout the engine likes best.
    x = np.load(arguments.folder / "input.npy")
    if arguments.engine == "keras":
        run = _keras_engine(weights, arguments.threads, arguments.n_blocks)
        x = np.ascontiguousarray(x.transpose(0, 2, 3, 1))
    else:
        run = _onnx_engine(weights, arguments.threads, arguments.n_blocks)
    np.save(arguments.folder / f"{arguments.engine}.npy", run(x))
    print("ready", flush=True)
    clock = time.perf_counter if arguments.threads > 1 else time.process_time
    for _ in sys.stdin:
        begin = clock()
        run(x)
        print(clock() - begin, flush=True)


if __name__ == "__main__":
    main()
