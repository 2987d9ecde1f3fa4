# SPDX-License-Identifier: Apache-2.0
"""The sweep on TensorRT, on a pretended GPU: the real driver calls and files, and the arithmetic of ONNX Runtime."""

import threading
from dataclasses import replace

import numpy as np
import pytest

from da3_ros.engines import EngineError
from da3_ros.engines.onnx_sweep import OnnxSweep
from da3_ros.engines.plan import SWEEP, PlanError, Shape, plans_folder, read_header, read_payload, write_plan
from da3_ros.engines.sweep import SweepShape, sweep_shapes
from da3_ros.engines.tensorrt_sweep import TensorRTSweep, find_sweep_plan
from da3_ros.export.build import BuildOptions
from da3_ros.export.sweep_plan import build_sweep

SHAPES = (Shape(2, 98, 126), Shape(3, 126, 98))


@pytest.fixture(scope="module")
def kept():
    """Files of the plan, once it was built."""
    return {}


@pytest.fixture
def built(machine, kept):
    """The machine, with a plan."""
    here, folder = machine(), plans_folder(SWEEP)
    if not kept:
        assert build_sweep(here, BuildOptions(SHAPES), print) is not None
        kept.update({path.name: path.read_bytes() for path in folder.iterdir()})
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in kept.items():
        (folder / name).write_bytes(content)
    return here


@pytest.fixture
def program(built):
    program = TensorRTSweep.from_plans(built, SHAPES)
    yield program
    program.close()


def made_up(shape):
    """Inputs in which something is found, though nothing sensible."""
    rng = np.random.default_rng(shape.depths)
    feed = {name: rng.uniform(0, 1, sides).astype(np.float32) for name, sides in shape.inputs().items()}
    feed["last"][:] = shape.width - 1, shape.height - 1
    feed["projections"][:] = np.eye(3, 4) * 20
    feed["places"][:] = np.arange(shape.depths)
    feed["steps"][:] = -0.5, 0.1, shape.depths
    return feed


def test_it_says_what_onnx_runtime_says(program):
    assert program.backend == "TensorRT 10.3.0 Pretend GPU"
    plain = OnnxSweep()
    for shape in (*sweep_shapes(*SHAPES[0]), *sweep_shapes(*SHAPES[1])):
        feed = made_up(shape)
        expected = plain(feed)
        for _ in range(3):  # the first call, the first of the recording, another
            got = program(feed)
            for name, values in expected.items():
                np.testing.assert_allclose(got[name], values, rtol=1e-6, err_msg=name)
    with pytest.raises(EngineError, match="no profile for 2 x 1 views of 98x126 at 6 depths"):
        program(made_up(SweepShape(2, 1, 6, 98, 126)))


def test_what_it_gives_is_not_overwritten_by_the_next_call(program):
    shape = sweep_shapes(*SHAPES[0])[0]
    first = program(made_up(shape))
    kept = first["found"].copy()
    program({**made_up(shape), "log_depth": np.ones(shape.inputs()["log_depth"], np.float32)})
    np.testing.assert_array_equal(first["found"], kept)


def test_the_profile_with_the_least_work_is_taken(program):
    low, tall = sweep_shapes(*SHAPES[0]), sweep_shapes(*SHAPES[1])
    assert program.fit(SweepShape(2, 1, 7, 49, 63)) == low[0]
    assert program.fit(SweepShape(2, 1, 17, 49, 63)) == low[1]
    assert program.fit(SweepShape(2, 1, 5, 97, 126)) == low[2]
    assert program.fit(SweepShape(3, 2, 5, 126, 90)) == tall[2]
    assert program.fit(SweepShape(30, 2, 5, 126, 90)) == tall[2], "in several calls"
    for too_large in (SweepShape(2, 1, 49, 49, 63), SweepShape(2, 3, 5, 98, 98), SweepShape(2, 1, 5, 99, 126)):
        assert program.fit(too_large) is None


def test_calls_from_several_threads_wait_for_each_other(program):
    shape = sweep_shapes(*SHAPES[1])[2]
    feeds = [{**made_up(shape), "log_depth": np.full(shape.inputs()["log_depth"], k / 9, np.float32)} for k in range(8)]
    plain = OnnxSweep()
    expected, found = [plain(feed)["found"] for feed in feeds], [None] * 8

    def one(k):
        found[k] = program(feeds[k])["found"]

    threads = [threading.Thread(target=one, args=(k,)) for k in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_nothing_is_left_on_the_gpu(built, leftovers):
    before = leftovers()[:5]
    program = TensorRTSweep.from_plans(built, SHAPES)
    program(made_up(sweep_shapes(*SHAPES[0])[0]))
    program.close()
    program.close()
    assert leftovers()[:5] == before
    with pytest.raises(EngineError, match="was closed"):
        program(made_up(sweep_shapes(*SHAPES[0])[0]))
    path, header = find_sweep_plan(built, SHAPES)
    with pytest.raises(PlanError, match=r"version 10.3.0 does not match 9.9"):
        TensorRTSweep(built, header, read_payload(path, header).replace(b"10.3.0", b"9.9"))
    assert leftovers()[:5] == before


def test_a_plan_that_does_not_fit_is_told(built, machine):
    path, header = find_sweep_plan(built, SHAPES[:1])
    assert find_sweep_plan(built, ()) == (path, header), "whatever it holds"
    with pytest.raises(PlanError, match=r"it was not built for 4 views of 98x126; `da3 build` makes one"):
        find_sweep_plan(built, [*SHAPES, Shape(4, 98, 126)])
    with pytest.raises(PlanError, match=r"built by TensorRT 10.3.0, here is 10.4.0"):
        find_sweep_plan(machine("10.4.0"), SHAPES)
    other = replace(header, key=replace(header.key, graph_sha256="0" * 64))
    write_plan(path, other, read_payload(path, header))
    with pytest.raises(PlanError, match=r"built from another sweep.onnx"):
        find_sweep_plan(built, SHAPES)
    write_plan(path, replace(header, gate={}), read_payload(path, header))
    with pytest.raises(PlanError, match="has not passed the accuracy gate"):
        find_sweep_plan(built, SHAPES)
    path.write_bytes(b"DA3PLAN")
    with pytest.raises(PlanError, match="is not a plan of this package"):
        find_sweep_plan(built, SHAPES)
    path.unlink()
    with pytest.raises(PlanError, match=r"there is no plan of the sweep in .*sweep"):
        find_sweep_plan(built, SHAPES)


def test_the_newest_of_several_is_taken(built):
    first, _ = find_sweep_plan(built, SHAPES)
    assert read_header(first).key.kind == SWEEP
    second = build_sweep(built, BuildOptions((*SHAPES, Shape(2, 112, 112))), print)
    assert second is not None
    assert find_sweep_plan(built, SHAPES)[0] == second
    assert {path.name for path in plans_folder(SWEEP).glob("*.plan")} == {first.name, second.name}
