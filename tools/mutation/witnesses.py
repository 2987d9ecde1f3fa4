# SPDX-License-Identifier: Apache-2.0
"""Which tests run which line, and how long they take: run as `python witnesses.py OUT.json SOURCE TESTS...` in a copy.

A fixture that several tests share runs in the first of them; what it runs is put down to all that ask for it.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import coverage
import pytest

SHARED = "fixture "


class Recorder:
    """A plugin of pytest that tells coverage whose lines it sees."""

    def __init__(self, measured: coverage.Coverage) -> None:
        self.measured = measured
        self.seconds: dict[str, float] = defaultdict(float)
        self.passed: dict[str, bool] = {}
        self.asks: dict[str, list[str]] = defaultdict(list)
        self._now = ""

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_protocol(self, item: Any) -> Iterator[None]:
        for name in getattr(item, "fixturenames", ()):
            self.asks[name].append(item.nodeid)
        self._now = item.nodeid
        self.measured.switch_context(item.nodeid)
        yield
        self.measured.switch_context("")

    @pytest.hookimpl(hookwrapper=True)
    def pytest_fixture_setup(self, fixturedef: Any) -> Iterator[None]:
        shared = fixturedef.scope != "function"
        before = self._now
        if shared:
            # Of two fixtures of one name in two files, the tests of both are put down: one or the other too many.
            self._now = SHARED + fixturedef.argname
            self.measured.switch_context(self._now)
        yield
        if shared:
            self._now = before
            self.measured.switch_context(before)

    def pytest_runtest_logreport(self, report: Any) -> None:
        self.seconds[report.nodeid] += report.duration
        good = report.passed or (report.skipped and report.when == "setup")
        self.passed[report.nodeid] = self.passed.get(report.nodeid, True) and good and not report.skipped


def main(out: str, source: str, *tests: str) -> int:
    """Writes `{"seconds": {test: s}, "lines": {file: {line: [tests]}}}` and returns pytest's exit code."""
    measured = coverage.Coverage(data_file=None, source=[source], config_file=False, messages=False)
    recorder = Recorder(measured)
    measured.start()
    code = pytest.main(["-q", "-p", "no:cacheprovider", "-p", "no:xdist", *tests], plugins=[recorder])
    measured.stop()
    data = measured.get_data()
    lines: dict[str, dict[int, list[str]]] = {}
    for file in data.measured_files():
        name = str(Path(file).resolve().relative_to(Path.cwd().resolve()))
        lines[name] = {
            line: sorted({test for context in contexts for test in _tests(context, recorder)})
            for line, contexts in data.contexts_by_lineno(file).items()
        }
    good = {test: round(s, 3) for test, s in recorder.seconds.items() if recorder.passed.get(test)}
    Path(out).write_text(
        json.dumps({"seconds": good, "failed": sorted(set(recorder.seconds) - set(good)), "lines": lines})
    )
    return int(code)


def _tests(context: str, recorder: Recorder) -> list[str]:
    if context.startswith(SHARED):
        return recorder.asks[context.removeprefix(SHARED)]
    return [context] if context else []


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
