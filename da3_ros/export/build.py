# SPDX-License-Identifier: Apache-2.0
"""ONNX graph to serialised TensorRT engine.

`trt` is TensorRT's module, 10.3 to 11, or TensorRT for RTX, which has the same interface and also builds for a GPU that
is not there. The network is strongly typed in all of them: the graph's types are the engine's, nothing is chosen here.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from da3_ros.atomic import write_atomically
from da3_ros.engines.engine import EngineError
from da3_ros.engines.files import MASK
from da3_ros.engines.plan import SWEEP, Flags, Shape
from da3_ros.engines.sweep import sweep_shapes
from da3_ros.engines.tensorrt import input_shapes, make_logger

Report = Callable[[str], None]


class BuildError(EngineError):
    """TensorRT could not build an engine; the message holds its own words."""


@dataclass(frozen=True)
class BuildOptions:
    """What to build for."""

    shapes: tuple[Shape, ...]
    """One optimisation profile each, with fixed dimensions: ranges cost memory and were wrong in TensorRT 10.3. Of the
    sweep several each, see `sweep_shapes`."""
    flags: Flags = field(default_factory=Flags)
    timing_cache: Path | None = None
    """File of measured kernel times, made when it is missing; it makes later builds on the same GPU quick."""
    targets: tuple[str, ...] = ()
    """Only TensorRT for RTX: compute capabilities to build one plan for without a GPU, for example ``SM86``."""

    def __post_init__(self) -> None:
        if not self.shapes:
            raise ValueError("a plan needs at least one shape")
        if len(set(self.shapes)) != len(self.shapes):
            raise ValueError(f"shapes repeat: {', '.join(map(str, self.shapes))}")
        if self.targets and self.timing_cache:
            raise ValueError(
                f"targets {', '.join(self.targets)} are built without a GPU, so there is nothing to time: "
                "no timing cache"
            )


@dataclass(frozen=True)
class Built:
    """A serialised engine, and what the builder said of it."""

    payload: bytes
    seconds: float
    memory: dict[str, int]
    """Bytes, for example of ``Total Activation Memory`` and ``Total Weights Memory``; what a version reports."""


def build_serialized(trt: Any, graph: Path, kind: str, options: BuildOptions, report: Report | None = None) -> Built:
    """Parse `graph`, of a kind in `files.KINDS` or `SWEEP`, and build it.

    report: called with a line on the progress. Raises BuildError with the parser's or builder's errors, and
    KeyboardInterrupt soon after it is asked for.
    """
    start = time.perf_counter()
    logger = make_logger(trt)
    builder = trt.Builder(logger)
    # Needed by 10.x; 11 knows no other kind of network. The number behind the name differs, so it is not written out.
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, logger)  # holds the weights until the engine is built
    if not parser.parse_from_file(str(graph)):
        raise BuildError(f"TensorRT {trt.__version__} cannot parse {graph}: {_parser_errors(parser)}")
    config = builder.create_builder_config()
    _configure(trt, config, options)
    _set_shapes(builder, network, config, kind, options.shapes)
    timing_cache = _open_timing_cache(config, options.timing_cache)
    monitor = None
    if report is not None and hasattr(trt, "IProgressMonitor"):
        monitor = _make_monitor(trt, report)
        config.progress_monitor = monitor
    serialized = builder.build_serialized_network(network, config)
    if monitor is not None and monitor.interrupted:
        raise KeyboardInterrupt
    if serialized is None:
        raise BuildError(f"TensorRT {trt.__version__} cannot build {graph}: {logger.last_errors()}")
    if timing_cache is not None and options.timing_cache is not None:
        write_atomically(options.timing_cache, bytes(timing_cache.serialize()))
    return Built(bytes(serialized), time.perf_counter() - start, dict(logger.memory))


def _configure(trt: Any, config: Any, options: BuildOptions) -> None:
    flags = options.flags
    if flags.workspace_bytes:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, flags.workspace_bytes)
    if not flags.tf32:
        config.clear_flag(trt.BuilderFlag.TF32)  # on by default
    if flags.version_compatible:
        config.set_flag(trt.BuilderFlag.VERSION_COMPATIBLE)
    if flags.hardware_compatible:
        config.hardware_compatibility_level = trt.HardwareCompatibilityLevel.AMPERE_PLUS
    if options.targets:
        _set_targets(trt, config, options.targets)


def _set_targets(trt: Any, config: Any, targets: Sequence[str]) -> None:
    if not hasattr(config, "set_compute_capability"):
        raise BuildError("only TensorRT for RTX builds for GPUs that are not there (targets); leave targets empty")
    capabilities = [getattr(trt.ComputeCapability, target, None) for target in targets]
    if None in capabilities:
        unknown = targets[capabilities.index(None)]
        known = ", ".join(name for name in trt.ComputeCapability.__members__ if name.startswith("SM"))
        raise BuildError(f"{trt.__name__} {trt.__version__} cannot build for {unknown}; it knows {known}")
    config.num_compute_capabilities = len(capabilities)
    for index, capability in enumerate(capabilities):
        config.set_compute_capability(capability, index)


def _set_shapes(builder: Any, network: Any, config: Any, kind: str, shapes: Sequence[Shape]) -> None:
    tensors = [network.get_input(i) for i in range(network.num_inputs)]
    names = sorted(tensor.name for tensor in tensors)
    expected = _profiles(kind, shapes, mixes=MASK in names)
    if names != sorted(expected[0]):
        raise BuildError(f"the {kind} graph takes {names}, expected {sorted(expected[0])}: export it again")
    if len(expected) == 1:
        # A network without any open dimension: the most room for fusion, and free of what 10.3 does wrong with them.
        for tensor in tensors:
            tensor.shape = expected[0][tensor.name]
        return
    for inputs in expected:
        profile = builder.create_optimization_profile()
        for name, fixed in inputs.items():
            profile.set_shape(name, fixed, fixed, fixed)
        if config.add_optimization_profile(profile) < 0:
            raise BuildError(f"TensorRT refuses the profile of {inputs}: is it within the range of the export?")


def _profiles(kind: str, shapes: Sequence[Shape], *, mixes: bool) -> list[dict[str, tuple[int, ...]]]:
    """Shapes of the inputs by name, profile by profile."""
    if kind == SWEEP:
        return [one.inputs() for shape in shapes for one in sweep_shapes(*shape)]
    return [input_shapes(kind, shape, mixes) for shape in shapes]


def _open_timing_cache(config: Any, path: Path | None) -> Any:
    if path is None:
        return None
    content = path.read_bytes() if path.is_file() else b""
    timing_cache = config.create_timing_cache(content)
    # False: times of another GPU or version are no use.
    if timing_cache is None or not config.set_timing_cache(timing_cache, False):
        timing_cache = config.create_timing_cache(b"")
        config.set_timing_cache(timing_cache, False)
    return timing_cache


def _parser_errors(parser: Any) -> str:
    errors = [parser.get_error(i) for i in range(parser.num_errors)]
    texts = [f"{error.desc()} (node {error.node_name()}, {error.node_operator()})" for error in errors]
    return "; ".join(texts) or "it gave no reason"


def _make_monitor(trt: Any, report: Report) -> Any:
    class Monitor(trt.IProgressMonitor):
        """Reports the steps of the outermost phase; stops the build when the user interrupts."""

        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self.interrupted = False
            self._steps: dict[str, int] = {}

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            if not parent_phase:
                self._steps[phase_name] = num_steps

        def step_complete(self, phase_name: str, step: int) -> bool:
            try:
                if phase_name in self._steps:
                    report(f"{phase_name}: {step + 1} of {self._steps[phase_name]}")
            except KeyboardInterrupt:  # must not travel through TensorRT's own frames
                self.interrupted = True
            return not self.interrupted

        def phase_finish(self, phase_name: str) -> None:
            self._steps.pop(phase_name, None)

    return Monitor()
