# SPDX-License-Identifier: Apache-2.0
"""One network on two devices: the CPU says in float32 what the other has to say."""

from __future__ import annotations

import copy
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gpu_proof.checks import Missing
from gpu_proof.machine import torch_with_cuda
from gpu_proof.numerics import borrow_array_api, draw_cameras, draw_images, need_torch, seed_weights
from gpu_proof.options import Options

TINY = "tiny"
OWN = "da3-nano"
"""The network whose weights may lie in the tree."""


@dataclass(frozen=True)
class Question:
    """What the network is asked."""

    views: int
    height: int
    width: int
    posed: bool = False
    """Whether it is told the cameras."""
    reference: str = "first"
    """Strategy for the reference view. ``first`` leaves nothing to the rounding of two nearly equal measures."""


class Bench:
    """A preset's network in float32 on the CPU, and the same weights on the device of `options`.

    Raises Missing where torch, the GPU or what the network imports is not here.
    """

    def __init__(self, preset: str, options: Options) -> None:
        self.device = options.device
        self.torch = need_torch() if options.device == "cpu" else torch_with_cuda()
        self.array_api = borrow_array_api()
        self.weights, self.expecting = load_network(preset, Path(options.models))
        self.subject = copy.deepcopy(self.expecting).to(self.device)
        self._expected: dict[Question, dict[str, Any]] = {}

    def expected(self, question: Question) -> dict[str, Any]:
        """Outputs of the CPU in float32, by name."""
        if question not in self._expected:
            inputs = self._inputs(question, "cpu")
            with self.torch.inference_mode():
                self._expected[question] = self.expecting(**inputs)
        return self._expected[question]

    def answer(self, question: Question, arithmetic: str) -> dict[str, Any]:
        """Outputs of the device, by name."""
        inputs = self._inputs(question, self.device)
        with self.torch.inference_mode(), self.arithmetic(arithmetic):
            out: dict[str, Any] = self.subject(**inputs)
        return out

    def time(self, question: Question, arithmetic: str, model: Any = None) -> dict[str, float | int | None]:
        """``ms`` of a call (median after warm-up; by events on a GPU), ``images_per_s``, and on a GPU ``peak_mb``: the
        most memory that was taken at a time, weights of both the network and its inputs included.
        """
        inputs = self._inputs(question, self.device)
        called = self.subject if model is None else model
        with self.torch.inference_mode(), self.arithmetic(arithmetic):
            run = self._time_cuda if self.device == "cuda" else self._time_cpu
            ms, runs = run(lambda: called(**inputs))
        peak = self.torch.cuda.max_memory_allocated() / 2**20 if self.device == "cuda" else None
        return {"ms": ms, "runs": runs, "images_per_s": 1e3 * question.views / ms, "peak_mb": peak}

    @contextmanager
    def arithmetic(self, name: str) -> Iterator[None]:
        """Products inside in ``float32`` (TF32 off), ``tf32`` or ``bfloat16`` (autocast)."""
        if name == "tf32" and self.device == "cpu":
            raise Missing("TF32 is arithmetic of a GPU")
        backends = self.torch.backends
        before = backends.cuda.matmul.allow_tf32, backends.cudnn.allow_tf32
        backends.cuda.matmul.allow_tf32 = backends.cudnn.allow_tf32 = name == "tf32"
        try:
            with self.torch.autocast(self.device, dtype=self.torch.bfloat16, enabled=name == "bfloat16"):
                yield
        finally:
            backends.cuda.matmul.allow_tf32, backends.cudnn.allow_tf32 = before

    def _inputs(self, question: Question, device: str) -> dict[str, Any]:
        size = question.views, question.height, question.width
        inputs: dict[str, Any] = {"images": draw_images(*size).to(device), "reference": question.reference}
        if question.posed:
            extrinsics, intrinsics = draw_cameras(*size)
            inputs.update(extrinsics=extrinsics.to(device), intrinsics=intrinsics.to(device))
        return inputs

    def _time_cuda(self, call: Callable[[], Any]) -> tuple[float, int]:
        cuda = self.torch.cuda
        for _ in range(3):
            call()
        cuda.synchronize()
        cuda.reset_peak_memory_stats()
        milliseconds: list[float] = []
        begin = time.monotonic()
        while len(milliseconds) < 5 or (len(milliseconds) < 30 and time.monotonic() - begin < 0.6):
            start, end = cuda.Event(enable_timing=True), cuda.Event(enable_timing=True)
            start.record()
            call()
            end.record()
            end.synchronize()
            milliseconds.append(start.elapsed_time(end))
        return statistics.median(milliseconds), len(milliseconds)

    def _time_cpu(self, call: Callable[[], Any]) -> tuple[float, int]:
        begin = time.perf_counter()
        call()
        return 1e3 * (time.perf_counter() - begin), 1


def load_network(preset: str, models: Path) -> tuple[str, Any]:
    """Where its weights come from, in words, and the network in evaluation mode and float32 on the CPU.

    ``da3-nano`` has its own weights where they lie in `models` and can be read; all others are seeded.
    """
    from da3_ros.network import CheckpointError, load_checkpoint
    from da3_ros.network.model import build_model
    from da3_ros.network.presets import Preset, get_preset

    if preset == OWN:
        try:
            return f"{OWN}'s own", load_checkpoint(models / OWN)
        except CheckpointError as error:
            source = f"seeded: {error}"
    else:
        source = "seeded"
    tiny = Preset(TINY, 64, 4, 4, (0, 1, 2, 3), 2, 16, (16, 16, 16, 16), camera_encoder_depth=1)
    model = build_model(tiny if preset == TINY else get_preset(preset)).eval()
    seed_weights(model)
    return source, model
