# SPDX-License-Identifier: Apache-2.0
"""The shipped graph of the sweep is what the code makes, and formulas become the nodes that they say."""

from needs import needs

needs("onnx")

import numpy as np
import onnx
import onnxruntime
import pytest

from da3_ros.engines.graph_file import GraphFile
from da3_ros.engines.sweep import GRAPH, INPUTS, METADATA, OUTPUTS, WINDOW, SweepShape
from da3_ros.estimation.refinement.sweep import Rules
from da3_ros.export.formula import Formula
from da3_ros.export.sweep import sweep_graph


def test_the_shipped_file_is_what_the_code_makes():
    assert GRAPH.read_bytes() == sweep_graph().SerializeToString(), "run python tools/sweep_graph.py"


def test_it_says_what_goes_in_and_out():
    graph = onnx.load(str(GRAPH)).graph
    for values, told in ((graph.input, INPUTS), (graph.output, OUTPUTS)):
        shapes = {v.name: tuple(d.dim_param or d.dim_value for d in v.type.tensor_type.shape.dim) for v in values}
        assert shapes == told
    assert GraphFile.read(GRAPH).metadata == METADATA
    assert Rules().window == WINDOW


def test_no_side_is_fixed():
    """Any number of frames, others, depths and pixels, even one of each."""
    session = onnxruntime.InferenceSession(str(GRAPH))
    for shape in (SweepShape(1, 1, 1, 8, 9), SweepShape(3, 2, 4, 10, 8)):
        feed = {name: np.zeros(sides, np.float32) for name, sides in shape.inputs().items()}
        for out in session.run(None, feed):
            assert out.shape == (shape.frames, shape.height, shape.width)
            assert np.isfinite(out).all()


@pytest.fixture
def run():
    """Function: what a formula of two inputs x and y (3,) makes of numbers."""

    def made(build, x, y=(0, 0, 0)):
        formula = Formula()
        formula.output("out", build(formula.input("x", (3,)), formula.input("y", (3,))), (None,))
        model = formula.model("test", 18, {})
        session = onnxruntime.InferenceSession(model.SerializeToString())
        return session.run(None, {"x": np.array(x, np.float32), "y": np.array(y, np.float32)})[0].tolist()

    return made


@pytest.mark.parametrize(
    ("build", "expected"),
    [
        (lambda x, y: x + y, [5, 7, 1]),
        (lambda x, y: x - y * 2.0, [-7, -8, 7]),
        (lambda x, y: y / x, [4, 2.5, pytest.approx(-2 / 3)]),
        (lambda x, y: x.under(6.0), [6, 3, 2]),
        (lambda x, y: x.at_least(2.0).at_most(y), [2, 2, -2]),
        (lambda x, y: (x > 1.0).where(x, y), [4, 2, 3]),
        (lambda x, y: (x >= 2.0).number() + (x < 3.0).number() + (x <= 1.0).number(), [2, 2, 1]),
        (lambda x, y: x.within(2.0, 2.5).number(), [0, 1, 0]),
        (lambda x, y: ((x > 1.0) & ~(y > 0.0)).number(), [0, 0, 1]),
        (lambda x, y: x.reduced("Sum", 0, keep=True), [6]),
        (lambda x, y: y.reduced("Max", 0, keep=True), [5]),
        (lambda x, y: x.sliced([0], [1], [3]), [2, 3]),
        (lambda x, y: x.unsqueezed(0).element(1, 2), [3]),
        (lambda x, y: x.unsqueezed(0, 2).squeezed(0).shaped(1, -1).squeezed(0), [1, 2, 3]),
        (lambda x, y: x.shaped(x.side(0)), [1, 2, 3]),
    ],
)
def test_a_formula_is_what_it_says(run, build, expected):
    assert run(build, (1, 2, 3), (4, 5, -2)) == expected
