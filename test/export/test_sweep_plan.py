# SPDX-License-Identifier: Apache-2.0
"""A plan of the sweep is built for a model's shapes, and kept only where it finds what the CPU code finds."""

import json

import pytest

from da3_ros.engines.plan import LOG, SWEEP, Flags, PlanError, Shape, build_lock, plans_folder, read_header
from da3_ros.export.build import BuildOptions
from da3_ros.export.sweep_plan import build_sweep

SHAPES = (Shape(1, 98, 126), Shape(2, 98, 126), Shape(3, 98, 126))


@pytest.fixture
def build(machine):
    """Function: path of the plan, and all that was said; drift: what is wrong with it."""

    def made(shapes=SHAPES, drift=0.0, version="10.3.0", **options):
        said = []
        here = machine(version, {"sweep": drift})
        return build_sweep(here, BuildOptions(shapes, **options), said.append), said

    return made


def builds():
    import sys

    return [call[:3] for call in sys.modules["tensorrt"].calls if call[0] == "build"]


def test_it_is_for_the_sets_that_have_something_to_compare(build):
    path, said = build()
    header = read_header(path)
    assert header.key.shapes == SHAPES[1:]
    assert path.parent == plans_folder(SWEEP)
    assert builds() == [("build", "sweep.onnx", 6)], "three profiles each"
    assert header.gate["passed"]
    assert "100.00% of the pixels" not in header.gate["verdict"]  # borders of what is seen differ a little
    for shape in SHAPES[1:]:
        assert any(line.startswith(f"sweep of {shape}: 9") for line in said)
    steps = json.loads((path.parent / LOG).read_text())["steps"]
    assert steps == [line for line in said if line.startswith("sweep")]


def test_a_single_view_needs_none(build):
    path, said = build(SHAPES[:1])
    assert path is None
    assert said == ["sweep: a single view has nothing to be compared with, no plan is needed"]
    assert not plans_folder(SWEEP).exists()


@pytest.mark.parametrize(
    ("drift", "words"),
    [(0.02, "within 0.02"), (float("nan"), "within nan"), ("unbuildable", "could not find any implementation")],
)
def test_one_that_finds_something_else_is_refused(build, drift, words):
    path, said = build(drift=drift)
    assert path is None
    assert said[-1].startswith("sweep is refused, the CPU does it: ")
    assert words in said[-1]
    assert list(plans_folder(SWEEP).glob("*.plan")) == []


def test_a_plan_that_fits_is_not_built_again(build):
    path, _ = build()
    again, said = build()
    assert (again, builds()) == (path, [])
    assert said == [f"sweep: the plan is there and fits: {path.name}"]
    assert build(SHAPES[1:2])[0] == path, "it holds these as well"
    other, _ = build(version="10.4.0")
    assert other != path
    assert not path.exists(), "superseded on this GPU"


def test_flags_reach_the_builder(build):
    path, _ = build(flags=Flags(version_compatible=True))
    assert read_header(path).key.flags.version_compatible


def test_another_build_at_work_is_named(build):
    with build_lock(plans_folder(SWEEP)), pytest.raises(PlanError, match="wait for it to end"):
        build()


def test_nothing_is_left_on_the_gpu(build, leftovers):
    build()
    build(drift=0.02, shapes=(Shape(2, 126, 98),))
    assert leftovers()[:5] == [0] * 5
