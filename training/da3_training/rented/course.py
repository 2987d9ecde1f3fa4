# SPDX-License-Identifier: Apache-2.0
"""The course on a rented machine: check, train, evaluate, gather; each in a process of its own, each with an end."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from da3_training.config import STUDIO, put
from da3_training.rented.cargo import Cargo
from da3_training.rented.machine import Machine
from da3_training.rented.plan import LAST, Times, in_words, overrides
from da3_training.rented.report import pictures, write_report
from da3_training.run.checkpoints import PROGRESS, newest
from da3_training.run.pieces import PieceError, join_pieces

ROOT = Path(__file__).resolve().parents[3]
"""Of the project's tree."""
WORTH, TRIES = 60.0, 3
"""Seconds that must be left for training to be begun again, and how often it is begun."""
OFTEN = 10.0
GRACE = 10.0
"""Seconds between asking a process to end and ending it."""


@dataclass(frozen=True)
class Done:
    """One part of the course."""

    name: str
    seconds: float
    code: int
    late: bool
    said: Path

    @property
    def failed(self) -> bool:
        """Whether it did not do what it should."""
        return self.late or self.code != 0


def run_course(
    config: Path, cargo: Cargo, work: Path, out: Path, times: Times, began: float, photos: float, more: dict[str, Any]
) -> int:
    """Do all of it; returns the exit code: 0 where every part did what it should.

    began: start of the command on the clock of `time.time`. work: folder for what need not be kept; the same command
    with the same folder goes on with a run that was killed. out: gets weights in pieces (at every checkpoint), log,
    table and pictures. more: further keys of the configuration.
    """
    work.mkdir(parents=True, exist_ok=True)
    out.mkdir(parents=True, exist_ok=True)
    machine = Machine.inspect()
    print(in_words(machine, cargo, times), flush=True)
    done: list[Done] = []
    if times.check:
        done.append(_check(times.check, work, machine))
        if (work / "gpu_check.json").is_file():
            shutil.copy(work / "gpu_check.json", out / "gpu_check.json")
    end = began + 60 * times.all - LAST
    try:
        values = {**overrides(machine, cargo, work, out, photos), **more}
        if cargo.start is not None:
            join_pieces(cargo.start, work / "start")
        done += _train(config, values, work, out, end - 60 * times.evaluate, machine)
        if cargo.heldout is not None:
            done.append(_evaluate(cargo, work, end + LAST / 2 - time.time(), machine))
    except (OSError, RuntimeError, PieceError) as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        (work / "train.said").write_text(f"{error}\n")
        done.append(Done("train", 0.0, 1, False, work / "train.said"))
    _copy_log(work, out)
    with suppress(Exception):  # a page without a picture is worth more than none
        pictures(work, out / "pictures.png")
    write_report(out / "report.md", in_words(machine, cargo, times), done, work, time.time() - began)
    print((out / "report.md").read_text(), flush=True)
    return int(any(part.failed for part in done))


def _train(config: Path, values: dict[str, Any], work: Path, out: Path, end: float, machine: Machine) -> list[Done]:
    """Train until `end`, on the clock of `time.time`.

    A run that fails on the way goes on from its checkpoint while there is time, TRIES times in all; one that fails
    before its first step tries what is left without rooms.
    """
    done: list[Done] = []
    while True:
        left = end - time.time()
        path = work / "config.yaml"
        hours = (spent_seconds(work / "run") + max(left, 1.0)) / 3600
        path.write_text(yaml.safe_dump(_with(yaml.safe_load(config.read_text()), {**values, "hours": hours})))
        name = "train" if not done else f"train again {len(done)}"
        meanwhile = partial(_copy_log, work, out)
        done.append(_run(name, _da3_train("train", path), work, left + 30, machine, meanwhile))
        if not done[-1].failed or done[-1].late or end - time.time() < WORTH or len(done) == TRIES:
            return done
        if not (work / "run" / "log.jsonl").is_file() or not (work / "run" / "log.jsonl").read_text():
            photos = [entry for entry in values["data"] if entry["dataset"] != STUDIO]
            if not photos or photos == values["data"]:
                return done
            values = {**values, "data": photos}


def _copy_log(work: Path, out: Path) -> None:
    if (work / "run" / "log.jsonl").is_file():
        shutil.copy(work / "run" / "log.jsonl", out / "log.jsonl")


def spent_seconds(run: Path) -> float:
    """What a run in this folder has spent up to its newest checkpoint."""
    folder = newest(run)
    return 0.0 if folder is None else float(json.loads((folder / PROGRESS).read_text())["spent"])


def _da3_train(verb: str, *arguments: object) -> list[str]:
    return [sys.executable, "-m", "da3_training", verb, *(str(a) for a in arguments)]


def _check(minutes: float, work: Path, machine: Machine) -> Done:
    """The proof on a GPU; without one, what it would prove."""
    what = ["--out", str(work), "--minutes", str(minutes)] if machine.gpu else ["--plan"]
    return _run(
        "check", [sys.executable, str(ROOT / "tools" / "gpu_check.py"), *what], work, 60 * minutes + 15, machine
    )


def _evaluate(cargo: Cargo, work: Path, seconds: float, machine: Machine) -> Done:
    """Scores of what was trained, beside those of what it began from."""
    weights = work / "run" / "export"
    arguments: list[object] = [weights, f"shards={cargo.heldout}", "--views", 1, 2, "--pictures", work / "pictures"]
    arguments += ["--device", "cuda" if machine.gpu else "cpu"]
    if cargo.start is not None:
        arguments += ["--beside", work / "start"]
    if not weights.is_dir():
        (work / "evaluate.said").write_text(f"there are no weights in {weights}: training did not end as it should\n")
        return Done("evaluate", 0.0, 1, False, work / "evaluate.said")
    return _run("evaluate", _da3_train("evaluate", *arguments), work, seconds, machine)


def _run(
    name: str,
    command: Sequence[str],
    work: Path,
    seconds: float,
    machine: Machine,
    meanwhile: Callable[[], None] = lambda: None,
) -> Done:
    """Run a command with what it says both shown and kept; one that is late is asked to end, then ended.

    meanwhile: is called every ten seconds. Nothing that the command started outlives it.
    """
    said = work / f"{name}.said"
    environment = {**os.environ, **machine.environment, "PYTHONUNBUFFERED": "1"}
    environment["PYTHONPATH"] = os.pathsep.join(
        [str(ROOT / "training"), str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    )
    begun = time.monotonic()
    with said.open("w") as stream:
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=stream, stderr=subprocess.STDOUT, start_new_session=True
        )
        late = False
        try:
            while not _ended(process, min(OFTEN, seconds - (time.monotonic() - begun))):
                meanwhile()
                if time.monotonic() - begun >= seconds:
                    late = True
                    process.send_signal(signal.SIGTERM)
                    _ended(process, GRACE)
                    break
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    text = said.read_text(errors="replace")
    print(f"--- {name}: {'late' if late else f'code {process.returncode}'}\n{text[-3000:]}", flush=True)
    return Done(name, time.monotonic() - begun, process.returncode, late, said)


def _ended(process: subprocess.Popen[bytes], seconds: float) -> bool:
    """Whether it ends within so many seconds."""
    try:
        process.wait(max(seconds, 0.01))
    except subprocess.TimeoutExpired:
        return False
    return True


def _with(values: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Values of a configuration file with dotted keys put in."""
    for key, value in changes.items():
        put(values, key, value)
    return values
