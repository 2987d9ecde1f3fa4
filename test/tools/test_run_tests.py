# SPDX-License-Identifier: Apache-2.0
"""`make test`: two parts at once, and in the first one each folder in one process, for its fixtures are dear."""

import os
import re
import shutil
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest
import run_tests
from needs import needs

needs("xdist")

ROOT = Path(__file__).resolve().parents[2]
NO_CACHE = ("-p", "no:cacheprovider")
GROUPS = {
    "geometry/test_a.py": "geometry",
    "geometry/test_b.py": "geometry",
    "bag/run/test_a.py": "bag",
    "bag/line/test_a.py": "bag",
    "training/run/test_a.py": "training/run",
    "training/run/test_b.py": "training/run",
    "training/scenes/test_a.py": "training/scenes",
    "export/test_graph.py": "export",
    "export/test_single_view.py": "test/export/test_single_view.py",
}


@pytest.fixture(autouse=True)
def alone(monkeypatch):
    """This may itself run in one of several processes."""
    for name in list(os.environ):
        if name.startswith("PYTEST_"):
            monkeypatch.delenv(name)


def test_what_shares_dear_fixtures_stays_in_one_process(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # starts faster
    for name in GROUPS:
        path = tmp_path / "test" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("def test_one():\n    pass\n\ndef test_two():\n    pass\n")
    shutil.copy(ROOT / "test" / "conftest.py", tmp_path / "test")
    command = [sys.executable, "-m", "pytest", "-v", *NO_CACHE, "--import-mode=importlib", "--rootdir", str(tmp_path)]
    options = ["-p", "xdist", *run_tests.SIDE_BY_SIDE]
    done = subprocess.run([*command, *options, "test"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-4000:]
    passed = re.findall(r"\[(gw\d)\].*PASSED test/(\S+)::\w+@(\S+)", done.stdout)
    assert len(passed) == 2 * len(GROUPS)
    workers = defaultdict(set)
    for worker, file, group in passed:
        assert group == GROUPS[file]
        workers[group].add(worker)
    assert all(len(found) == 1 for found in workers.values()), workers
    assert len(set.union(*workers.values())) == 2, workers


@pytest.mark.parametrize(("first", "second", "code"), [("==", "==", 0), ("!=", "==", 1), ("==", "!=", 1)])
def test_both_parts_run_and_must_pass_and_the_first_one_gives_way(tmp_path, capfd, monkeypatch, first, second, code):
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # starts faster
    test = "import os\n\ndef test_it():\n    assert os.nice(0) {} {}\n"
    one_thread = "    assert os.environ['OMP_NUM_THREADS'] == '1'\n"
    (tmp_path / "test_first.py").write_text(test.format(first, min(os.nice(0) + run_tests.NICE, 19)) + one_thread)
    (tmp_path / "test_second.py").write_text(test.format(second, os.nice(0)))
    found = run_tests.run([*NO_CACHE, "test_first.py"], [*NO_CACHE, "test_second.py"], tmp_path)
    said = capfd.readouterr().out
    assert found == code
    assert said.index("test_first.py") < said.index("test_second.py"), "the second part's output follows"
    assert said.count("1 passed") == 2 - code
    assert list(tmp_path.rglob("*.pyc")), "or every process would compile the same modules anew"


@pytest.mark.parametrize("argument", ["--help", "test/geometry"])
def test_nothing_runs_where_help_or_some_of_the_tests_are_asked_for(monkeypatch, capsys, argument):
    monkeypatch.setattr(run_tests, "run", lambda *_: pytest.fail("ran"))
    with pytest.raises(SystemExit) as ended:
        run_tests.main([argument])
    assert ended.value.code == (0 if argument == "--help" else 2)
    assert "usage" in "".join(capsys.readouterr())


def test_what_waits_for_others_is_in_the_second_part():
    there = {path.name for path in (ROOT / "test").iterdir()}
    assert there >= {*run_tests.BUSY}
    assert there - {*run_tests.BUSY} >= {"node", "system"}
