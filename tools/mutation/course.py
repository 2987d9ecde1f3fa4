# SPDX-License-Identifier: Apache-2.0
"""One room after the other: find out which tests run which line, then try its mutants, several side by side."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mutation.copies import Copy
from mutation.results import Book, Mutant, Verdict, digest
from mutation.rooms import ROOT, Room

HERE = Path(__file__).parent
NEAR_S = 20.0
"""So long, by their own count, may the tests take that are tried at first: of those that run the line, the quickest."""
REST_S = 120.0
"""And so long all others that run it, before a mutant counts as a survivor."""
FILES_S = 30.0
"""And so long the rest of the first tests' files: what one test computes and keeps may be looked at by another."""


@dataclass(frozen=True)
class Witnesses:
    """Tests that passed, how long each takes in s, and by file and line those that run it."""

    seconds: dict[str, float]
    lines: dict[str, dict[int, tuple[str, ...]]]

    def of(self, mutant: Mutant) -> list[str]:
        """The tests that run a mutant's line, the quickest first; of a line that runs at import those of its file."""
        lines = self.lines.get(mutant.path, {})
        if mutant.mutation.function and mutant.mutation.line in lines:
            found = set(lines[mutant.mutation.line])
        elif mutant.mutation.function:
            # Of a statement over several lines coverage knows the first.
            before = [line for line in lines if line <= mutant.mutation.line]
            found = set(lines[max(before)]) if before else set()
        else:
            found = {test for tests in lines.values() for test in tests}
        return sorted(found & set(self.seconds), key=self.seconds.__getitem__)

    def rounds(self, mutant: Mutant) -> list[list[str]]:
        """What is tried one after the other, until something fails."""
        tests = self.of(mutant)
        first = self._within(tests, NEAR_S)
        rest = self._within(tests[len(first) :], REST_S)
        files = {test.split("::")[0] for test in first}
        beside = [test for test in self.seconds if test.split("::")[0] in files and test not in {*first, *rest}]
        return [tests for tests in (first, rest, self._within(beside, FILES_S)) if tests]

    def _within(self, tests: Sequence[str], limit_s: float) -> list[str]:
        kept: list[str] = []
        sum_s = 0.0
        for test in tests:
            sum_s += self.seconds[test]
            if kept and sum_s > limit_s:
                break
            kept.append(test)
        return kept

    def time(self, tests: Sequence[str]) -> float:
        """After this time in s they hang: a busy machine is slow, too."""
        return 15.0 + 4.0 * sum(self.seconds[test] for test in tests)


def environment(copy: Copy) -> dict[str, str]:
    """In which every process, and every process that a test starts, finds the package in the copy."""
    return {
        **os.environ,
        "PYTHONPATH": str(copy.folder),
        "PYTHONDONTWRITEBYTECODE": "1",
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
    }


def witnesses(room: Room, copy: Copy, out: Path) -> Witnesses:
    """Run the tests of a room once, all of them, and see which lines they run.

    Raises:
        RuntimeError: nothing passed; with what pytest said last.
    """
    tests = [f"test/{name}" for name in room.tests]
    command = [sys.executable, str(HERE / "witnesses.py"), str(out), str(copy.folder / "da3_ros" / room.name), *tests]
    env = environment(copy)
    env.pop("PYTHONDONTWRITEBYTECODE")
    done = subprocess.run(
        command, cwd=copy.folder, env=env, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )
    record: dict[str, Any] = json.loads(out.read_text()) if out.exists() else {"seconds": {}, "lines": {}}
    if not record["seconds"]:
        raise RuntimeError(f"No test of {', '.join(tests)} passed: {(done.stdout + done.stderr)[-2000:]}")
    lines = {file: {int(n): tuple(t) for n, t in found.items()} for file, found in record["lines"].items()}
    return Witnesses(record["seconds"], lines)


class Worker:
    """A copy of the checkout and the process that runs tests in it."""

    def __init__(self, folder: Path, root: Path = ROOT) -> None:
        self.root = root
        self.copy = Copy(folder, root)
        self._process = self._start()

    def _start(self) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, str(HERE / "worker.py")],
            cwd=self.copy.folder,
            env=environment(self.copy),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def judge(self, mutant: Mutant, known: Witnesses) -> Verdict:
        """The verdict of the tests that run its line, and if they pass, of the rest of their files."""
        begin = time.monotonic()
        outcome, ran, by = "unseen", 0, ""
        with self.copy.changed(Path(mutant.path), mutant.mutation.text):
            for tests in known.rounds(mutant):
                outcome, by = self._ask(tests, known.time(tests))
                ran += len(tests)
                if outcome != "passed":
                    break
        file = digest(self.root / mutant.path)
        return Verdict(mutant.key, file, outcome, ran, round(time.monotonic() - begin, 2), by)

    def _ask(self, tests: Sequence[str], limit_s: float) -> tuple[str, str]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"tests": list(tests), "limit_s": limit_s}) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError(f"The worker in {self.copy.folder} ended with exit code {self._process.wait()}.")
        found = json.loads(answer)
        failed = [line.split(" - ")[0] for line in found["said"].splitlines() if line.startswith(("FAILED", "ERROR"))]
        return found["outcome"], failed[0] if failed else ""

    def close(self) -> None:
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._process.wait()


def course(
    mutants: Sequence[Mutant],
    known: Witnesses,
    workers: Sequence[Worker],
    book: Book,
    *,
    until: float,
    report: Callable[[Mutant, Verdict], None],
) -> None:
    """Judge mutants in their order until the monotonic time `until`; each verdict goes into the book at once."""
    waiting: queue.SimpleQueue[Mutant] = queue.SimpleQueue()
    for mutant in mutants:
        waiting.put(mutant)
    lock = threading.Lock()
    errors: list[BaseException] = []

    def work(worker: Worker) -> None:
        try:
            while time.monotonic() < until and not errors:
                try:
                    mutant = waiting.get_nowait()
                except queue.Empty:
                    return
                verdict = worker.judge(mutant, known)
                with lock:
                    book.add(verdict)
                    report(mutant, verdict)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(worker,)) for worker in workers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
