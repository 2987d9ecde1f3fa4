# SPDX-License-Identifier: Apache-2.0
"""The performance suite's rows, its guard, and its report; and a run of what takes seconds."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from needs import needs

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def rows(monkeypatch):
    monkeypatch.setattr(sys, "path", [str(ROOT / "benchmark" / "performance"), *sys.path])
    for name in ("rows", "report"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    import rows

    yield rows
    for name in ("rows", "report"):
        sys.modules.pop(name, None)


def test_ratios_say_how_many_times_as_good(rows):
    fast = rows.Row("x", "time", "ms", 2.0, 0.0, "theirs", 6.0)
    rate = rows.Row("x", "rate", "Hz", 20.0, 0.0, "theirs", 10.0, less_is_better=False)
    assert (fast.ratio, rate.ratio) == (3.0, 2.0)
    assert rows.Row("x", "alone", "ms", 2.0, 0.0).ratio is None


def test_the_spread_is_that_of_the_quartiles(rows):
    assert rows.spread_of([1.0, 1.0, 1.0, 1.0]) == 0.0
    assert rows.spread_of([8, 9, 10, 11, 12]) == pytest.approx(0.15)
    assert rows.spread_of([1, 2]) == 0.0
    row = rows.of_times("x", "a", "ms", [8, 9, 10, 11, 12], [20, 20, 20, 20], "theirs")
    assert (row.ours, row.theirs, row.spread) == (10, 20, pytest.approx(0.15))


def test_the_guard_compares_ratios_and_allows_for_the_spread(rows):
    def row(ours, theirs, spread=0.0, name="a"):
        return rows.Row("x", name, "ms", ours, spread, "theirs", theirs)

    before = [row(10, 30).as_dict(), row(1, 2, name="gone").as_dict()]
    # A machine half as fast is no regression.
    assert rows.find_regressions([row(20, 60)], before) == []
    [text] = rows.find_regressions([row(20, 30)], before)
    assert text == "x: a: 1.50 times theirs, it was 3.00 (a fall of 15% is allowed)"
    assert rows.find_regressions([row(12, 30, spread=0.1)], before) == []
    assert rows.find_regressions([row(12, 30)], before) != []
    assert rows.find_regressions([row(1, 2, name="new")], before) == []


def test_the_report(rows, tmp_path):
    needs("matplotlib")
    from report import write

    table = [
        rows.Row("engine", "estimate", "ms", 2.0, 0.05, "published code", 6.0, note="80 %", command="python x.py"),
        rows.Row("node", "rate", "Hz", 12.0, 0.0),
    ]
    write(tmp_path, table, {"cpu": "2 x abacus"}, {"sgemm_gflops": 100, "copy_gb_s": 7.5}, {"tensorrt": "no GPU"})
    page = (tmp_path / "performance.md").read_text()
    assert "| estimate | 2 ms | published code | 6 ms | **3.00** | 5% | 80 %; `python x.py` |" in page
    assert "* tensorrt: no GPU" in page
    assert "* cpu: 2 x abacus" in page
    stored = json.loads((tmp_path / "performance.json").read_text())
    assert stored["rows"][0]["ratio"] == 3.0
    assert (tmp_path / "performance.png").stat().st_size > 5000


def test_the_command_says_what_cannot_run_here(tmp_path):
    needs("matplotlib", "rclpy", "skimage")
    command = [sys.executable, str(ROOT / "benchmark" / "performance"), "--quick", "--sections", "tensorrt"]
    done = subprocess.run([*command, "-o", str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    from da3_ros.engines.guard import find_gpu

    if find_gpu().gpu is None:
        assert "tensorrt: not run: no NVIDIA driver" in done.stdout
        assert "* tensorrt: no NVIDIA driver" in (tmp_path / "performance.md").read_text()
