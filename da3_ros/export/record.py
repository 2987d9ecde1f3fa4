# SPDX-License-Identifier: Apache-2.0
"""One build of a model at a time, with what it did kept in words beside its plans."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from da3_ros.atomic import write_atomically
from da3_ros.engines.plan import LOG, build_lock, plans_folder
from da3_ros.export.build import Report


@dataclass
class BuildRecord:
    """A build that is under way."""

    folder: Path
    """Where the plans of the model lie, and what else was found out on this machine."""
    report: Report
    steps: list[str] = field(default_factory=list)

    def say(self, text: str) -> None:
        """Report a step, and keep it."""
        self.steps.append(text)
        self.report(text)


@contextmanager
def recorded_build(model: str, report: Report) -> Iterator[BuildRecord]:
    """Hold the right to build a model; the steps are kept in `LOG` once it has come to an end without an error.

    Raises PlanError when another build is at work.
    """
    record = BuildRecord(plans_folder(model), report)
    with build_lock(record.folder):
        yield record
        log = {"at": time_stamp(), "steps": record.steps}
        write_atomically(record.folder / LOG, json.dumps(log, indent=1).encode())


def time_stamp() -> str:
    """Now, in ISO 8601."""
    return time.strftime("%Y-%m-%dT%H:%M:%S%z")
