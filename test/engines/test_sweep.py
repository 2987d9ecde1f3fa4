# SPDX-License-Identifier: Apache-2.0
"""Shapes of the sweep's calls, and ONNX Runtime as its program."""

import numpy as np
import onnxruntime
import pytest

from da3_ros.engines import EngineError, onnx_sweep
from da3_ros.engines.onnx_sweep import OnnxSweep
from da3_ros.engines.sweep import MARGIN, OUTPUTS, SweepShape, sweep_shapes

SMALL = SweepShape(2, 1, 5, 12, 16)


def test_inputs_of_a_shape():
    inputs = SMALL.inputs()
    assert inputs["grey"] == (2, 12 + 2 * MARGIN, 16 + 2 * MARGIN)
    assert inputs["others"] == (2, 1, 12, 16)
    assert (inputs["projections"], inputs["places"], inputs["rules"]) == ((2, 1, 3, 4), (5,), (3,))


@pytest.mark.parametrize(
    ("views", "expected"),
    [
        (1, ()),
        (2, ((2, 1, 16, 98, 126), (2, 1, 48, 98, 126), (2, 1, 5, 196, 252))),
        (9, ((9, 4, 16, 98, 126), (9, 4, 48, 98, 126), (9, 4, 5, 196, 252))),
    ],
)
def test_shapes_of_a_set(views, expected):
    assert sweep_shapes(views, 196, 252) == expected
    assert sweep_shapes(2, 195, 251)[0][3:] == (98, 126), "half of an odd side has room for its last pixel"


def test_a_shape_holds_what_is_smaller_however_many_frames():
    assert SMALL.holds(SMALL._replace(frames=7, height=8))
    for side in ("others", "depths", "height", "width"):
        assert not SMALL.holds(SMALL._replace(**{side: getattr(SMALL, side) + 1}))


def test_onnx_runtime_runs_it():
    program = OnnxSweep()
    assert program.backend == "onnxruntime CPU"
    feed = {name: np.zeros(sides, np.float32) for name, sides in SMALL.inputs().items()}
    out = program(feed)
    assert {name: values.shape for name, values in out.items()} == dict.fromkeys(OUTPUTS, (2, 12, 16))
    assert not out["accepted"].any(), "nothing is seen where there is no other view"
    with pytest.raises(EngineError, match=r"ONNX Runtime failed on the sweep: .*places"):
        program({**feed, "places": np.zeros((2, 2), np.float32)})


def test_frames_are_taken_some_at_a_time(monkeypatch):
    assert OnnxSweep().fit(SMALL) == SMALL
    monkeypatch.setattr(onnx_sweep, "MOST", 5 * 12 * 16)
    assert OnnxSweep().fit(SMALL).frames == 1
    monkeypatch.setattr(onnx_sweep, "MOST", 1)
    assert OnnxSweep().fit(SMALL).frames == 1


def test_a_provider_that_does_not_start_is_an_error(monkeypatch):
    """ONNX Runtime goes on with the CPU's without a word."""
    real = onnxruntime.InferenceSession

    def without_gpu(path, options, providers):
        return real(path, options, providers=[name for name in providers if name.startswith("CPU")])

    monkeypatch.setattr(onnxruntime, "InferenceSession", without_gpu)
    with pytest.raises(EngineError, match="could not start CUDAExecutionProvider for the sweep, only CPU"):
        OnnxSweep(["CUDAExecutionProvider"])
    assert OnnxSweep().backend == "onnxruntime CPU"


def test_a_file_that_is_no_graph_is_named(monkeypatch, tmp_path):
    (tmp_path / "sweep.onnx").write_bytes(b"nothing")
    monkeypatch.setattr(onnx_sweep, "GRAPH", tmp_path / "sweep.onnx")
    with pytest.raises(EngineError, match=r"cannot load .*sweep.onnx"):
        OnnxSweep()
