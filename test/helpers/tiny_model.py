# SPDX-License-Identifier: Apache-2.0
"""A model folder whose graphs compute what the engines of `fake_tensorrt` compute, in microseconds."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def write_model(folder, precisions=("fp32",), kinds=("unposed", "posed"), name="tiny", mixes=False):
    """Write the graphs and one file of weights; returns the folder. mixes: posed graphs take the mask of known cameras,
    and cameras that are not known stand at the origin.
    """
    from da3_ros.engines.files import graph_name

    folder = folder / name
    folder.mkdir(parents=True, exist_ok=True)
    one = np.array([1.0], np.float32)
    (folder / "model.safetensors").write_bytes(b"headhead" + one.tobytes())
    for kind in kinds:
        for precision in precisions:
            onnx.save_model(_graph(kind, precision, name, mixes), str(folder / graph_name(kind, precision)))
    return folder


def _graph(kind, precision, name, mixes):
    def constant(key, values):
        return numpy_helper.from_array(np.asarray(values), key)

    external = TensorProto(name="one", data_type=TensorProto.FLOAT, dims=[1])
    external.data_location = TensorProto.EXTERNAL
    for key, value in (("location", "model.safetensors"), ("offset", 8), ("length", 4)):
        entry = external.external_data.add()
        entry.key, entry.value = key, str(value)
    initialisers = [
        external,
        constant("white", np.float32([255])),
        constant("three", np.int64([3])),
        constant("pose", np.eye(3, 4, dtype=np.float32)[None]),
        constant("k", 100 * np.eye(3, dtype=np.float32)[None]),
        constant("tail", np.int64([3, 4])),
        constant("square", np.int64([3, 3])),
        constant("zero", np.int64([0])),
        constant("second", np.int64([1])),
    ]
    node = helper.make_node
    nodes = [
        node("Cast", ["images"], ["colour"], to=TensorProto.FLOAT),
        node("ReduceMean", ["colour", "three"], ["grey"], keepdims=0),
        node("Div", ["grey", "white"], ["scaled"]),
        node("Add", ["scaled", "one"], ["depth"]),
        node("Add", ["depth", "one"], ["confidence"]),
        node("Shape", ["images"], ["shape"]),
        node("Gather", ["shape", "zero"], ["views"]),
        node("Concat", ["views", "tail"], ["pose_shape"], axis=0),
        node("Concat", ["views", "square"], ["k_shape"], axis=0),
        node("Expand", ["k", "k_shape"], ["intrinsics"]),
    ]
    inputs = [helper.make_tensor_value_info("images", TensorProto.UINT8, ["S", "H", "W", 3])]
    if kind == "posed":
        inputs += [
            helper.make_tensor_value_info("known_extrinsics", TensorProto.FLOAT, ["S", 4, 4]),
            helper.make_tensor_value_info("known_intrinsics", TensorProto.FLOAT, ["S", 3, 3]),
        ]
        given = ["known_extrinsics", "zero", "three", "second"]
        if mixes:
            inputs.append(helper.make_tensor_value_info("known_cameras", TensorProto.FLOAT, ["S"]))
            initialisers.append(constant("last", np.int64([1, 2])))
            nodes += [
                node("Slice", given, ["given"]),
                node("Unsqueeze", ["known_cameras", "last"], ["mask"]),
                node("Cast", ["mask"], ["known"], to=TensorProto.BOOL),
                node("Where", ["known", "given", "pose"], ["extrinsics"]),
            ]
        else:
            nodes.append(node("Slice", given, ["extrinsics"]))
    else:
        nodes.append(node("Expand", ["pose", "pose_shape"], ["extrinsics"]))
    outputs = [
        helper.make_tensor_value_info(n, TensorProto.FLOAT, s)
        for n, s in {
            "depth": ["S", "H", "W"],
            "confidence": ["S", "H", "W"],
            "extrinsics": ["S", 3, 4],
            "intrinsics": ["S", 3, 3],
        }.items()
    ]
    model = helper.make_model(
        helper.make_graph(nodes, f"{kind} {precision}", inputs, outputs, initialisers),
        opset_imports=[helper.make_opsetid("", 18)],
        ir_version=9,
    )
    for key, value in {"da3.model": name, "da3.patch": "14"}.items():
        entry = model.metadata_props.add()
        entry.key, entry.value = key, value
    return model
