# SPDX-License-Identifier: Apache-2.0
"""The refinement benchmark's parts, on made rigs and with an estimator whose every answer is known."""

from needs import needs

needs("scipy", "yaml")

from types import SimpleNamespace

import numpy as np
import pytest
from cases import GROSS, OF_ROOMS, Sources
from cost import measure_time, sweep_table
from made_rig import made_case, ring_case
from rig_files import rig_path, write_rig
from robustness import gross, rigs
from runs import Both, Runner
from sections import stereo

from da3_ros.estimation.refinement.graph_sweep import GraphSweeper


class Known(Runner):
    """Depth is 10 % too far before; after, view 0 is exact but for `spoilt` times, and nothing is done where the names
    of cameras are crossed. Refined depth states half of its first error as its standard deviation.
    """

    def __init__(self, spoilt=1.0):
        self.spoilt, self.names = spoilt, []

    def estimate(self, case):
        self.names.append(case.name)
        on = not case.name.endswith("crossed")
        found = []
        for refined in (False, on):
            views = []
            for i, truth in enumerate(case.truth):
                error = 0.1 * (0.5 * self.spoilt if refined and i == 0 else 1)
                told = SimpleNamespace(
                    applied=refined and i == 0, message="" if i == 0 else f"{i}.5 % agree", pixels={"views": 7}
                )
                depth = truth.depth * np.float32(1 + error)
                views.append(SimpleNamespace(depth=depth, stddev=0.07 * truth.depth, refinement=told))
            scale = SimpleNamespace(metric=True, source="rig")
            found.append(SimpleNamespace(views=views, scale=scale, timing={"refinement": 4.0, "engine": 8.0}))
        return Both(*found)


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rigs")
    right = np.eye(4)
    right[0, 3] = 0.2
    for room in range(3):
        pair = made_case([np.eye(4), right], np.random.default_rng(room))
        for look in ("own", *OF_ROOMS):
            write_rig(rig_path(folder, "heldout", room, "stereo", look), pair)
            write_rig(rig_path(folder, "heldout", room, "ring", look), ring_case(np.random.default_rng(room)))
    return Sources(rigs=folder, rooms=3, gross_rooms=2)


def test_rigs_a_little_off(sources, tmp_path):
    runner = Known()
    found = rigs(runner, sources, tmp_path)
    assert len(runner.names) == 6
    assert all(name.endswith("miscalibrated") for name in runner.names)
    figures = found.figures
    assert (figures["rigs stereo views"], figures["rigs ring views"], figures["rigs all views"]) == (6, 9, 15)
    assert figures["rigs all not_worse"] == 1
    assert figures["rigs stereo median"] == pytest.approx(0.75, abs=0.01)
    assert figures["rigs ring absrel before"] == pytest.approx(0.1, rel=1e-3)
    assert figures["rigs ring absrel after"] == pytest.approx((0.05 + 0.2) / 3, rel=0.05)
    # One view of two, one of three: exact to within its standard deviation.
    assert figures["rigs stereo within"] == pytest.approx(1 / 2, abs=0.01)
    assert figures["rigs all within"] == pytest.approx(2 / 5, abs=0.01)
    worse = rigs(Known(spoilt=2.2), sources, tmp_path).figures
    assert worse["rigs all not_worse"] == pytest.approx(9 / 15)
    assert worse["rigs all worst"] == pytest.approx(1.1, abs=0.01)


def test_gross_errors_are_done_to_as_many_rooms_as_were_asked_for(sources, tmp_path):
    runner = Known()
    found = gross(runner, sources, tmp_path)
    assert len(runner.names) == 2 * 2 * len(GROSS)
    off = {error: found.figures[f"gross {error} off"] for error in GROSS}
    assert off == {error: float(error == "crossed") for error in GROSS}
    assert found.figures["gross crossed worst"] == 1
    assert found.figures["gross knocked median"] == pytest.approx(1.0)
    assert found.figures["gross knocked worst"] == 1
    assert [cells[:2] for cells in found.tables[0].rows] == [(error, 4.0) for error in GROSS]
    spoilt = gross(Known(spoilt=3), sources, tmp_path)
    assert spoilt.figures["gross fence worst"] == pytest.approx(1.5, abs=0.01)
    assert any(note.startswith("fence: worst: heldout_000") for note in spoilt.tables[0].notes)


def test_a_pair_stands_beside_semi_global_matching(sources, tmp_path):
    figures = stereo(Known(), sources, tmp_path).figures
    assert figures["stereo absrel after where_matched"] == pytest.approx(0.05, rel=0.01)
    assert 0 < figures["stereo absrel matching"] < 0.03
    assert figures["stereo absrel times_matching"] == pytest.approx(0.05 / figures["stereo absrel matching"], rel=0.01)
    assert figures["stereo refined"] == 0.5
    assert "not refined, 3 views: N % agree" in stereo(Known(), sources, tmp_path).tables[0].notes


def test_times_are_medians_without_the_first_two():
    ticks = iter(range(100))

    class Slow:
        def __init__(self, own):
            self.own = own

        def reset(self):
            pass

        def __call__(self, views):
            return SimpleNamespace(timing={"engine": 10.0 if next(ticks) > 3 else 1000.0, "refinement": self.own})

    case = ring_case(np.random.default_rng(0))
    runner = SimpleNamespace(before=Slow(0.0), after=Slow(4.0))
    engine, own, (before, after) = measure_time(runner, case, 3)
    assert (engine, own) == (10.0, 4.0)
    assert next(ticks) == 10
    assert before >= 0
    assert after >= 0


def test_the_sweep_is_timed_by_either():
    table = sweep_table([(2, 98, 126)])
    ((name, cpu_ms, graph_ms, alike, off),) = table.rows
    assert (name, table.title) == ("2 views of 98x126", "Plane sweep, the graph on onnxruntime CPU")
    assert cpu_ms > 0
    assert graph_ms > 0
    assert 0.98 < alike <= 1
    assert 0 <= off < 0.005


@pytest.mark.parametrize("forced", ["cpu", "graph"])
def test_who_sweeps_can_be_forced(monkeypatch, forced):
    monkeypatch.setenv("DA3_SWEEP", forced)
    runner = Runner.of_model("da3-nano")
    assert isinstance(runner.after.sweeper, GraphSweeper) == (forced == "graph")
    assert runner.before.sweeper is runner.after.sweeper
