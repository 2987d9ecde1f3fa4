# SPDX-License-Identifier: Apache-2.0
"""A `tensorrt` module that behaves as documented, over the pretended driver of fake_libcuda.c.

Its engines compute depth = 1 + mean colour / 255, the function of `tiny_model`, times 1 + `drift` of the precision; for
the sweep's graph they compute what ONNX Runtime computes, with the drift added to the depth that is found.
"""

from __future__ import annotations

import ctypes
import enum
import json
import types
from pathlib import Path

import numpy as np
import onnxruntime

from da3_ros.engines import sweep

HEAD = b"ftrt"
OUTPUTS = {"depth": (), "confidence": (), "extrinsics": (3, 4), "intrinsics": (3, 3)}
WORK = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


class Severity(enum.IntEnum):
    INTERNAL_ERROR, ERROR, WARNING, INFO, VERBOSE = range(5)


class ILogger:
    INTERNAL_ERROR, ERROR, WARNING, INFO, VERBOSE = Severity
    Severity = Severity

    def __init__(self):
        self.ready = True


class IProgressMonitor:
    def __init__(self):
        self.ready = True


def make_module(driver, version="10.3.0", drift=None, name="tensorrt"):
    """The module. drift: by precision, and of the ``sweep``, a factor or NaN; "unbuildable" makes the build fail."""
    trt = types.ModuleType(name)
    trt.__version__ = version
    library = ctypes.CDLL(str(driver))
    library.fake_enqueue.argtypes = [ctypes.c_void_p, WORK, ctypes.c_void_p]
    drift = drift or {}
    trt.calls = []  # what was asked of the builder, for tests
    newer = int(version.split(".")[0]) >= 11

    class DataType(enum.Enum):
        FLOAT, HALF, INT8, INT32, BOOL, UINT8, FP8, BF16 = range(8)

    class TensorIOMode(enum.Enum):
        NONE, INPUT, OUTPUT = range(3)

    class NetworkDefinitionCreationFlag(enum.IntEnum):
        STRONGLY_TYPED = 0 if newer else 1

    class BuilderFlag(enum.IntEnum):
        TF32, VERSION_COMPATIBLE = 6, 12 if newer else 13

    class MemoryPoolType(enum.Enum):
        WORKSPACE = 0

    class HardwareCompatibilityLevel(enum.Enum):
        NONE, AMPERE_PLUS = 0, 1

    class ExecutionContextAllocationStrategy(enum.Enum):
        STATIC, ON_PROFILE_CHANGE, USER_MANAGED = range(3)

    class Context:
        def __init__(self, engine, strategy):
            assert strategy is ExecutionContextAllocationStrategy.USER_MANAGED
            self.engine, self.shapes, self.addresses = engine, {}, {}
            self.memory, self.index, self.kept = (0, 0), 0, []

        def set_device_memory(self, memory, size):
            assert self.infer_shapes() == [], "shapes come first"
            self.memory = (memory, size)

        def set_optimization_profile_async(self, profile_index, stream_handle):
            assert stream_handle
            self.index, self.shapes = profile_index, {}
            return profile_index < self.engine.num_optimization_profiles

        def set_input_shape(self, name, shape):
            if not self.engine.takes(self.index, name, tuple(shape)):
                self.engine.logger.log(Severity.ERROR, f"{name}: {shape} is out of the profile")
                return False
            self.shapes[name] = tuple(shape)
            return True

        def infer_shapes(self):
            return [name for name in self.engine.inputs if name not in self.shapes]

        def get_tensor_shape(self, name):
            if name in self.shapes:
                return self.shapes[name]
            return self.engine.output_shape(self.index, name)

        def set_tensor_address(self, name, memory):
            self.addresses[name] = memory
            return memory % 256 == 0

        def execute_async_v3(self, stream_handle):
            assert self.memory[1] >= self.engine.device_memory_size_v2, "no room for the activations"
            assert set(self.addresses) == {*self.engine.inputs, *self.engine.outputs}
            work = WORK(lambda _: self.engine.compute(self.array))
            self.kept.append(work)
            return library.fake_enqueue(stream_handle, work, None) == 0

        def array(self, name, dtype=np.float32):
            shape = self.get_tensor_shape(name)
            count = int(np.prod(shape)) * np.dtype(dtype).itemsize
            raw = (ctypes.c_uint8 * count).from_address(self.addresses[name])
            return np.frombuffer(raw, dtype).reshape(shape)

    class Engine:
        outputs = tuple(OUTPUTS)

        def __init__(self, spec, logger):
            self.spec, self.logger = spec, logger
            self.profiles = [{name: tuple(shape) for name, shape in p.items()} for p in spec["profiles"]]
            self.inputs = spec["inputs"]
            self.num_optimization_profiles = len(self.profiles)
            self.device_memory_size_v2 = 4096
            self.num_io_tensors = len(self.inputs) + len(self.outputs)

        def takes(self, profile, name, shape):
            return self.profiles[profile][name] == shape

        def output_shape(self, profile, name):
            views, height, width, _ = self.profiles[profile]["images"]
            return (views, *(OUTPUTS[name] or (height, width)))

        def compute(self, array):
            depth = 1 + array("images", np.uint8).astype(np.float32).mean(-1) / 255
            array("depth")[:] = depth * (1 + self.spec["drift"])
            array("confidence")[:] = depth + 1
            array("extrinsics")[:] = np.eye(3, 4)
            array("intrinsics")[:] = np.eye(3) * 100
            if "known_extrinsics" in self.inputs:
                given = array("known_extrinsics")[:, :3]
                if "known_cameras" in self.inputs:
                    given = np.where(array("known_cameras")[:, None, None] > 0.5, given, np.eye(3, 4))
                array("extrinsics")[:] = given

        def get_tensor_name(self, index):
            return [*self.inputs, *self.outputs][index]

        def get_tensor_mode(self, name):
            return TensorIOMode.INPUT if name in self.inputs else TensorIOMode.OUTPUT

        def get_tensor_dtype(self, name):
            return DataType.UINT8 if name == "images" else DataType[self.spec.get("dtype", "FLOAT")]

        def create_execution_context(self, strategy):
            return Context(self, strategy)

    class SweepEngine(Engine):
        outputs = tuple(sweep.OUTPUTS)

        def __init__(self, spec, logger):
            super().__init__(spec, logger)
            self.session = onnxruntime.InferenceSession(spec["path"])

        def output_shape(self, profile, name):
            frames, _, height, width = self.profiles[profile]["others"]
            return (frames, height, width)

        def compute(self, array):
            found = self.session.run(list(self.outputs), {name: array(name) for name in self.inputs})
            for output, values in zip(self.outputs, found, strict=True):
                array(output)[:] = values + (self.spec["drift"] if output == "found" else 0)

    class Runtime:
        def __init__(self, logger):
            assert logger.ready
            self.logger, self.engine_host_code_allowed = logger, False

        def deserialize_cuda_engine(self, serialized_engine):
            spec = json.loads(serialized_engine[len(HEAD) :])
            if spec["version"] != version and not (spec["portable"] and self.engine_host_code_allowed):
                self.logger.log(Severity.ERROR, f"version {version} does not match {spec['version']} of the plan")
                return None
            return (SweepEngine if "places" in spec["inputs"] else Engine)(spec, self.logger)

    class Tensor:
        def __init__(self, name):
            self.name, self.shape = name, (-1,)

    class Network:
        def __init__(self):
            self.inputs, self.path = [], ""

        num_inputs = property(lambda self: len(self.inputs))

        def get_input(self, index):
            return self.inputs[index]

    class ParserError:
        def desc(self):
            return "no such operator"

        def node_name(self):
            return "node_7"

        def node_operator(self):
            return "Frobnicate"

    class OnnxParser:
        def __init__(self, network, logger):
            assert logger.ready
            self.network, self.num_errors = network, 0

        def parse_from_file(self, model):
            self.network.path = model
            if b"unparsable" in Path(model).read_bytes():
                self.num_errors = 1
                return False
            posed = model.rsplit("/", 1)[-1].startswith("posed")
            names = ["images", *(["known_extrinsics", "known_intrinsics"] if posed else [])]
            names += ["known_cameras"] if b"known_cameras" in Path(model).read_bytes() else []
            names = list(sweep.INPUTS) if model.endswith(sweep.GRAPH.name) else names
            self.network.inputs = [Tensor(name) for name in names]
            return True

        def get_error(self, index):
            return ParserError()

    class Profile:
        def __init__(self):
            self.shapes = {}

        def set_shape(self, input, min, opt, max):
            assert min == opt == max
            self.shapes[input] = min

    class TimingCache:
        def __init__(self, content):
            self.content = content

        def serialize(self):
            return self.content + b"+"

    class Config:
        def __init__(self):
            self.profiles, self.flags, self.progress_monitor = [], {BuilderFlag.TF32}, None
            self.hardware_compatibility_level = HardwareCompatibilityLevel.NONE

        def set_memory_pool_limit(self, pool, pool_size):
            trt.calls.append(("workspace", pool_size))

        def set_flag(self, flag):
            self.flags.add(flag)

        def clear_flag(self, flag):
            self.flags.discard(flag)

        def add_optimization_profile(self, profile):
            self.profiles.append(profile)
            return len(self.profiles) - 1

        def create_timing_cache(self, serialized_timing_cache):
            return TimingCache(bytes(serialized_timing_cache))

        def set_timing_cache(self, cache, ignore_mismatch):
            return not cache.content.startswith(b"foreign")

    class Builder:
        def __init__(self, logger):
            assert logger.ready
            self.logger = logger

        def create_network(self, flags=0):
            assert flags == 1 << int(NetworkDefinitionCreationFlag.STRONGLY_TYPED)
            return Network()

        def create_builder_config(self):
            return Config()

        def create_optimization_profile(self):
            return Profile()

        def build_serialized_network(self, network, config):
            trt.calls.append(("build", network.path.rsplit("/", 1)[-1], len(config.profiles), set(config.flags)))
            kinds = {"fp16": ".fp16.", "bf16": ".bf16.", "sweep": sweep.GRAPH.name}
            precision = next((kind for kind, part in kinds.items() if part in network.path), "fp32")
            wrong = drift.get(precision, 0.0)
            if wrong == "unbuildable":
                self.logger.log(Severity.ERROR, "could not find any implementation for node node_7")
                return None
            monitor = config.progress_monitor
            if monitor is not None:
                assert monitor.ready
                monitor.phase_start("Building", None, 2)
                monitor.phase_start("Timing", "Building", 1)
                monitor.step_complete("Timing", 0)
                monitor.phase_finish("Timing")
                for step in range(2):
                    if not monitor.step_complete("Building", step):
                        return None
                monitor.phase_finish("Building")
            self.logger.log(Severity.INFO, "Total Activation Memory: 4096 bytes")
            profiles = [p.shapes for p in config.profiles] or [{tensor.name: tensor.shape for tensor in network.inputs}]
            spec = {
                "version": version,
                "portable": BuilderFlag.VERSION_COMPATIBLE in config.flags,
                "profiles": profiles,
                "inputs": [tensor.name for tensor in network.inputs],
                "drift": wrong,
                "path": network.path,
            }
            return HEAD + json.dumps(spec).encode()

    for item in (
        DataType, TensorIOMode, NetworkDefinitionCreationFlag, BuilderFlag, MemoryPoolType,
        HardwareCompatibilityLevel, ExecutionContextAllocationStrategy, ILogger, IProgressMonitor, Runtime, Builder,
        OnnxParser,
    ):  # fmt: skip
        setattr(trt, item.__name__, item)
    return trt
