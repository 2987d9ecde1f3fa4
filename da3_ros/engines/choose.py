# SPDX-License-Identifier: Apache-2.0
"""Which engine runs a model on this machine, and why."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

from da3_ros.engines.engine import Engine, EngineError
from da3_ros.engines.onnxruntime import OnnxRuntimeEngine, explain_onnxruntime
from da3_ros.engines.openvino import OpenVinoEngine, explain_openvino
from da3_ros.engines.tensorrt import TensorRTEngine, explain_tensorrt

log = logging.getLogger(__name__)

ENVIRONMENT = "DA3_ENGINE"
"""Variable that names the only engine to use; ``auto`` or empty: the best one."""


class EngineChoice(NamedTuple):
    """One way to run a model on this machine."""

    engine: str
    """``tensorrt``, ``openvino`` or ``onnxruntime``."""
    usable: bool
    reason: str
    """Why it can or cannot be used, in words."""


def explain_engines(folder: Path) -> list[EngineChoice]:
    """Every engine for the model in `folder`, best first, with the reason why it can or cannot run here.

    The variable ``DA3_ENGINE`` (``tensorrt``, ``openvino``, ``onnxruntime``) rules the others out.
    """
    wanted = os.environ.get(ENVIRONMENT, "auto") or "auto"
    explain: dict[str, Callable[[Path], tuple[bool, str]]] = {
        "tensorrt": explain_tensorrt,
        "openvino": partial(explain_openvino, forced=wanted == "openvino"),
        "onnxruntime": explain_onnxruntime,
    }
    if wanted not in ("auto", *explain):
        raise EngineError(f"{ENVIRONMENT} must be auto, {', '.join(explain)}, got {wanted!r}")
    return [
        EngineChoice(name, False, f"ruled out by {ENVIRONMENT}={wanted}")
        if wanted not in ("auto", name)
        else EngineChoice(name, *function(Path(folder)))
        for name, function in explain.items()
    ]


def load_engine(folder: Path, threads: int = 0) -> Engine:
    """Best engine on this machine for the exported model in `folder`: a TensorRT plan, else OpenVINO where bfloat16
    is faster and accurate, else ONNX Runtime.

    threads: of a CPU engine; 0 lets it take every core. The choice is logged with its reason. Raises EngineError that
    names what is missing.
    """
    make: dict[str, Callable[[], Engine]] = {
        "tensorrt": lambda: TensorRTEngine.from_folder(folder),
        "openvino": lambda: OpenVinoEngine(folder, threads),
        "onnxruntime": lambda: OnnxRuntimeEngine(folder, threads),
    }
    choices = explain_engines(folder)
    for choice in choices:
        if not choice.usable:
            log.info("not %s: %s", choice.engine, choice.reason)
            continue
        try:
            engine = make[choice.engine]()
        except EngineError as error:
            if choice is choices[-1] or not any(later.usable for later in choices[choices.index(choice) + 1 :]):
                raise
            log.warning("%s cannot run %s, the next engine is tried: %s", choice.engine, folder, error)
            continue
        log.info("engine: %s (%s)", engine.info.backend, choice.reason)
        return engine
    reasons = "; ".join(f"{choice.engine}: {choice.reason}" for choice in choices)
    raise EngineError(f"no engine can run {folder}: {reasons}")
