# SPDX-License-Identifier: Apache-2.0
"""Parts one after the other, each in a process of its own: what crashes, hangs or is late ends alone."""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gpu_proof.checks import FAILED, GAVE_UP, MISSING, PASSED, Check, Journal
from gpu_proof.options import Options

PROGRAM = Path(__file__).resolve().parents[1] / "gpu_check.py"
WORKER = "--worker"
Tell = Callable[[str], None]


@dataclass(frozen=True)
class Part:
    """One part of the course."""

    name: str
    target: str
    """Module with ``plan(options) -> list[str]``, the names of its checks, and ``prove(options, journal)``."""
    weight: float
    """Its share of the time that is left, beside those of the parts after it."""
    proves: bool = True
    """Whether a check of it that passes proves something of a GPU."""
    optional: bool = False
    """Whether nobody depends on it: late, or ended by a signal, it has given up and has not failed."""


PARTS = (
    Part("machine", "gpu_proof.machine", 50, proves=False),
    Part("driver", "gpu_proof.driver", 35),
    Part("network", "gpu_proof.network", 80),
    Part("libraries", "gpu_proof.libraries", 15),
    Part("sweep", "gpu_proof.sweep", 10),
    Part("compiled", "gpu_proof.compiled", 20, optional=True),
)
"""The first import of PyTorch on a fresh machine can take long; what is tried last may use up what the others leave."""


@dataclass
class Result:
    """How a part ended."""

    part: Part
    limit_s: float
    seconds: float = 0.0
    state: str = FAILED
    message: str = ""
    plan: list[str] = field(default_factory=list)
    checks: list[Check] = field(default_factory=list)

    @property
    def not_reached(self) -> list[str]:
        """Checks that the part had before it and said nothing of."""
        seen = {check.name for check in self.checks}
        return [name for name in self.plan if name not in seen]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "part": self.part.name,
            "state": self.state,
            "message": self.message,
            "seconds": round(self.seconds, 2),
            "limit_s": round(self.limit_s, 1),
            "not_reached": self.not_reached,
            "checks": [check.as_dict() for check in self.checks],
        }


def plan_of(part: Part, options: Options) -> list[str]:
    """Names of the checks of a part; imports neither torch nor a driver."""
    return list(importlib.import_module(part.target).plan(options))


def run_course(parts: Sequence[Part], options: Options, seconds: float, tell: Tell) -> list[Result]:
    """Every part in turn, all of them together within `seconds`. tell: called with a line on each outcome.

    A part may take its share, by weight, of the time that is left when it begins; what it leaves is shared on.
    """
    end = time.monotonic() + seconds
    results = []
    for number, part in enumerate(parts):
        share = part.weight / sum(later.weight for later in parts[number:])
        results.append(run_part(part, options, max(0.0, end - time.monotonic()) * share, tell))
    return results


def run_part(part: Part, options: Options, limit_s: float, tell: Tell) -> Result:
    """One part in a process of its own, which is ended when it takes longer than `limit_s`."""
    result = Result(part, limit_s)
    tell(f"{part.name}: at most {limit_s:.0f} s")
    begin = time.monotonic()
    command = [sys.executable, str(PROGRAM), WORKER, part.target, options.to_json()]
    with tempfile.TemporaryFile("w+", errors="replace") as errors:
        # A session of its own, so that what it starts (a compiler's workers, say) ends with it.
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=errors, text=True, errors="replace", start_new_session=True
        )
        reader = threading.Thread(target=_read, args=(process, result, tell), daemon=True)
        reader.start()
        late = False
        try:
            process.wait(timeout=limit_s)
        except subprocess.TimeoutExpired:
            late = True
        finally:
            _end(process)
        reader.join(timeout=5)
        errors.seek(0)
        last = [line.strip() for line in errors.read().splitlines() if line.strip()][-3:]
    result.seconds = time.monotonic() - begin
    result.state, result.message = _judge(result, process.returncode, late, last)
    tell(f"{part.name}: {result.state} after {result.seconds:.1f} s{f': {result.message}' if result.message else ''}")
    return result


def _read(process: subprocess.Popen[str], result: Result, tell: Tell) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        with suppress(ValueError):  # half a line, of a process that was ended
            said = json.loads(line)
            if "plan" in said:
                result.plan = said["plan"]
                continue
            check = Check(**said)
            result.checks.append(check)
            tell(f"  {check.state:>7}  {check.name}{f': {check.message}' if check.message else ''}")


def _end(process: subprocess.Popen[str]) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    with suppress(subprocess.TimeoutExpired):  # a process can be stuck inside a driver: the others go on all the same
        process.wait(timeout=5)


def _judge(result: Result, code: int | None, late: bool, last: Sequence[str]) -> tuple[str, str]:
    words = []
    if late:
        words.append(f"it ran into its limit of {result.limit_s:.0f} s")
    elif code is None or code < 0:
        words.append(f"its process was ended by signal {signal.Signals(-code).name}" if code else "it cannot be ended")
    elif code:
        words.append(f"its process ended with code {code}")
    if (late or code) and last:
        words.append(f"its last words: {' / '.join(last)}")
    if result.not_reached:
        words.append(f"not reached: {'; '.join(result.not_reached)}")
    states = [check.state for check in result.checks]
    if FAILED in states:
        return FAILED, "; ".join(words)
    if words:
        return GAVE_UP if result.part.optional and (late or (code or 0) < 0) else FAILED, "; ".join(words)
    if PASSED in states:
        return PASSED, ""
    if GAVE_UP in states:
        return GAVE_UP, ""
    return MISSING, "" if states else "it has no check"


def work(target: str, options: Options) -> None:
    """The other process: prove, and say each outcome on standard output as a line of JSON."""
    channel = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print belongs to the errors

    def send(content: dict[str, Any]) -> None:
        channel.write(json.dumps(content) + "\n")
        channel.flush()

    module = importlib.import_module(target)
    send({"plan": list(module.plan(options))})
    module.prove(options, Journal(lambda check: send(check.as_dict())))
