# SPDX-License-Identifier: Apache-2.0
"""What is done with one bag of a fleet, on whichever machine: fetch, reprocess, store, and say how it went."""

from __future__ import annotations

import dataclasses
import json
import socket
import time
from collections import Counter
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from da3_ros.bag.errors import BagError, BusyError, LostProcessError
from da3_ros.bag.io import places
from da3_ros.bag.plan.options import Request
from da3_ros.bag.plan.outcome import companion, has_errors, lost_frames
from da3_ros.bag.report.provenance import package_version
from da3_ros.bag.report.report import NAME as REPORT
from da3_ros.bag.run.reprocess import Load, Progress, reprocess
from da3_ros.estimation import Estimator, EstimatorConfig

_MARK = "fleet.json"
"""Beside an output in another storage: what it was made of."""


@dataclass(frozen=True)
class Task:
    """A bag, and what is to be made of it; can be pickled."""

    source: places.Source
    output: str
    """Path or URL of the output."""
    request: Request
    """Parameters and options; its own source and output are not used."""
    restart: bool = False
    overwrite: bool = False
    cores: int = 0
    """Cores of a CPU engine that has no number of threads in its parameters; 0: all."""


@dataclass(frozen=True)
class Result:
    """How a bag ended."""

    name: str
    url: str
    state: str
    """``done``: every frame; ``lossy``: finished, but something of the input could not be used; ``failed``."""
    output: str = ""
    error: str = ""
    again: bool = False
    """A failure that another attempt may not meet."""
    before: bool = False
    """It was finished by an earlier fleet."""
    resumed: bool = False
    sets: int = 0
    received: int = 0
    used: int = 0
    dropped: dict[str, int] = field(default_factory=dict)
    lost: dict[str, int] = field(default_factory=dict)
    """Of those that were dropped: for what is wrong with them, by cause."""
    notes: tuple[str, ...] = ()
    seconds: float = 0.0
    host: str = ""
    attempts: int = 1
    report: str = ""
    """Place of its report."""


def process_bag(task: Task, load: Load = Estimator.from_model, progress: Progress = lambda done, most: None) -> Result:
    """Do one bag; never raises for what is wrong with it.

    A local output goes on where an earlier attempt stood, on any machine that sees it. For another storage the bag is
    copied to a scratch folder of this machine and the finished output is stored: an attempt that ends in the middle
    leaves nothing.
    """
    begin = time.monotonic()
    blank = Result(task.source.name, task.source.url, "failed", task.output, host=socket.gethostname())
    try:
        result = _process(task, blank, _Kept(load), progress)
    except (BusyError, LostProcessError) as error:
        result = dataclasses.replace(blank, error=str(error), again=True)
    except (BagError, ValueError) as error:  # of the bag or of what was asked for: it would happen again
        result = dataclasses.replace(blank, error=str(error))
    except Exception as error:  # a disk, a network, an engine out of memory
        result = dataclasses.replace(blank, error=f"{type(error).__name__}: {error}", again=True)
    return dataclasses.replace(result, seconds=time.monotonic() - begin)


def _process(task: Task, blank: Result, load: Load, progress: Progress) -> Result:
    output = places.local_path(task.output) if places.is_local(task.output) else None
    if output is not None and places.is_local(task.source.url):
        return _reprocess(task, blank, places.local_path(task.source.url), output, load, progress)
    with TemporaryDirectory(prefix="da3_fleet_") as scratch:
        return _stored(task, blank, Path(scratch), output, load, progress)


def _stored(task: Task, blank: Result, scratch: Path, output: Path | None, load: Load, progress: Progress) -> Result:
    """With a copy of the input, the output, or both."""
    mark = {
        "source": task.source.url,
        "bytes": places.size(task.source.url),
        "request": json.loads(json.dumps(dataclasses.asdict(task.request), default=str)),
        "version": package_version(),
    }
    beside = companion(Path(task.output)).name
    place = places.join(task.output.rsplit("/", 1)[0], beside)
    text = places.read_text(places.join(place, _MARK))
    known = None if text is None else json.loads(text)
    if known is not None and known["result"] is not None and not (task.restart or task.overwrite):
        if known["mark"] != mark:
            raise BagError(f"{task.output} was made of another input or with other options: --restart makes it anew")
        return dataclasses.replace(blank, **{**known["result"], "before": True})
    if output is None and known is None and not task.overwrite and places.exists(task.output):
        raise BagError(f"{task.output} exists: choose another folder, or replace it with --overwrite")
    source = places.fetch(task.source.url, scratch)
    target = output or scratch / "out" / Path(task.output).name
    target.parent.mkdir(parents=True, exist_ok=True)
    # The copy is a new file each time: nothing of an earlier attempt can be gone on with.
    result = _reprocess(dataclasses.replace(task, restart=True), blank, source, target, load, progress)
    if output is None:
        places.store(companion(target), place)
        # What is stored in part is known as ours: an attempt that ends here is no output of somebody else.
        places.write_text(places.join(place, _MARK), json.dumps({"mark": mark, "result": None}))
        places.store(target, task.output)
    kept = {key: value for key, value in dataclasses.asdict(result).items() if key not in ("name", "url", "host")}
    places.write_text(places.join(place, _MARK), json.dumps({"mark": mark, "result": kept}))
    return result


def _reprocess(task: Task, blank: Result, source: Path, output: Path, load: Load, progress: Progress) -> Result:
    request = dataclasses.replace(task.request, source=source, output=output)
    before = (companion(output) / "run.json").exists() and output.exists() and not task.restart
    notes: list[str] = []
    summary = reprocess(
        request,
        load=load,
        progress=progress,
        log=lambda level, text: notes.append(text),
        restart=task.restart,
        overwrite=task.overwrite,
        cores=task.cores,
    )
    return _result(task, blank, summary, before, tuple(dict.fromkeys(notes)))


def _result(task: Task, blank: Result, summary: dict[str, Any], before: bool, notes: tuple[str, ...]) -> Result:
    dropped: Counter[str] = Counter()
    for counts in summary["frames"].values():
        dropped.update(counts["dropped"])
    return dataclasses.replace(
        blank,
        state="lossy" if has_errors(summary) else "done",
        before=before,
        resumed=bool(summary.get("resumed")) and not before,
        sets=len(summary["sets"]),
        received=sum(counts["received"] for counts in summary["frames"].values()),
        used=sum(counts["used"] for counts in summary["frames"].values()),
        dropped=dict(dropped),
        lost=lost_frames(summary),
        notes=tuple(dict.fromkeys((*_issues(summary), *notes)))[:20],
        report=places.join(task.output.rsplit("/", 1)[0], companion(Path(task.output)).name, REPORT),
    )


def _issues(summary: dict[str, Any]) -> list[str]:
    """What was wrong, the worst first."""
    issues = sorted(summary["issues"], key=lambda issue: -issue["level"])
    told = [f"{issue['camera']}: {issue['text']}" if issue["camera"] else issue["text"] for issue in issues]
    return [*summary["problems"], *told]


@dataclass(frozen=True)
class _Kept:
    """Loads a model as `load`, once in a process for all bags; can be pickled, since `--processes` sends it on."""

    load: Load

    def __call__(self, model: str, config: EstimatorConfig) -> Estimator:
        estimator = _kept(self.load, str(model), config)
        estimator.reconfigure(config)  # an earlier bag may have changed it
        estimator.reset()
        return estimator


@lru_cache(1)
def _kept(load: Load, model: str, config: EstimatorConfig) -> Estimator:
    """A process that does one bag after another loads its model once."""
    return load(model, config)
