# SPDX-License-Identifier: Apache-2.0
"""Is a model's bfloat16 on this processor as good as its float32? Asked once, before `load_engine` takes it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from da3_ros.engines.files import KINDS
from da3_ros.engines.graph_file import graph_kinds
from da3_ros.engines.onnxruntime import OnnxRuntimeEngine
from da3_ros.engines.openvino import OpenVinoEngine, Processor, Verdict, write_verdicts
from da3_ros.engines.plan import Shape
from da3_ros.export.build import Report
from da3_ros.export.gate import Tolerance, check, gather_samples
from da3_ros.export.record import recorded_build


def compare_bfloat16(
    folder: Path,
    processor: Processor,
    shapes: Sequence[Shape],
    report: Report,
    images: Path | None = None,
    tolerance: Tolerance | None = None,
) -> bool:
    """Run every graph in `folder` on OpenVINO in bfloat16 and on ONNX Runtime in float32, and keep the gate's verdicts.

    images: folder of real images; without one the gate draws a scene and says so. Whether all passed; every step is
    given to `report` and kept as `da3 build` keeps it. Raises EngineError when an engine fails, and PlanError when
    another build is at work.
    """
    folder = Path(folder)
    kinds = graph_kinds(folder)
    with recorded_build(folder.name, report) as record:
        say = record.say
        found, source = gather_samples(images, shapes, say)
        samples = [sample for shape in shapes for sample in found[shape]]
        reference = OnnxRuntimeEngine(folder, providers=["CPUExecutionProvider"])
        candidate = OpenVinoEngine(folder, precision="bf16")
        verdicts, passed = [], True
        for kind in kinds:
            gate = check(reference, candidate, samples, source, kind == KINDS[1], tolerance)
            say(f"openvino {processor.version} bf16 {kind} {gate}")
            passed &= gate.passed
            verdicts.append(Verdict.of(folder, kind, processor, gate.as_dict()))
        write_verdicts(folder, verdicts)
        say(f"{folder.name} runs on {'OpenVINO in bfloat16' if passed else 'ONNX Runtime in float32'}")
    return passed
