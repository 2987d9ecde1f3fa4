# SPDX-License-Identifier: Apache-2.0
"""The folder beside an output: what was asked for, which segments are finished, and where the run stands.

A segment counts as finished once its file lies in ``parts``; its record was written before. So a run that is killed at
any moment goes on with the first segment that is not there.
"""

from __future__ import annotations

import dataclasses
import fcntl
import json
import pickle
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from da3_ros.atomic import write_atomically
from da3_ros.bag.errors import BagError, BusyError, disk_full, is_disk_full
from da3_ros.bag.io.writer import Format, OutputTopic, Span, write_metadata
from da3_ros.bag.plan.outcome import companion


class Journal:
    """State of one output on disk."""

    def __init__(self, output: Path, suffix: str) -> None:
        """suffix: of the segments' files."""
        self.folder = companion(output)
        self.parts = self.folder / "parts"
        self.scratch = self.folder / "scratch"
        self.pictures = self.folder / "pictures"
        self.chunks = self.folder / "chunks"
        self._records = self.folder / "segments"
        self._stem, self._suffix = output.stem, suffix
        self._lock: Any = None

    def begin(self, job: Mapping[str, Any], *, restart: bool) -> bool:
        """Take the folder for this process; True where an earlier run of the same job left something.

        Raises BusyError where another process is at work, BagError where the folder belongs to another job: that is one
        with another input, other parameters, another model or version.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._lock = (self.folder / "lock").open("w")
        except OSError as error:
            if is_disk_full(error):
                raise disk_full(self.folder, error, "nothing was begun") from error
            reason = f"{self.folder} cannot be made or written to ({error.strerror})"
            raise BagError(f"{reason}: choose another place for the output, or change its permissions") from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise BusyError(f"{self.folder} is in use by another run: wait for it, or choose another output") from None
        if restart:
            self.forget()
        path = self.folder / "job.json"
        before = json.loads(path.read_text()) if path.exists() else None
        now = json.loads(json.dumps(job))
        if before is not None and before != now:
            changed = [key for key in sorted({*before, *now}) if before.get(key) != now.get(key)]
            raise BagError(
                f"{self.folder} holds an unfinished or finished run with another {', '.join(changed)}: "
                "use the same again to go on with it, or --restart to begin anew"
            )
        for folder in (self.parts, self._records, self.pictures):
            folder.mkdir(exist_ok=True)
        shutil.rmtree(self.scratch, ignore_errors=True)
        self.scratch.mkdir()
        if before is None:
            write_atomically(path, json.dumps(now, indent=1).encode())
        return before is not None

    def close(self) -> None:
        """Let the folder go."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def forget(self) -> None:
        """Remove all that earlier runs left."""
        for path in self.folder.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            elif path.name != "lock":
                path.unlink()

    def file(self, number: int) -> Path:
        """Where segment `number` goes."""
        return self.parts / f"{self._stem}_{number}{self._suffix}"

    def is_finished(self, number: int) -> bool:
        return self.file(number).exists() and self._record(number).exists()

    def finished(self) -> list[int]:
        """Numbers of the finished segments, in order."""
        numbers = (int(path.stem) for path in self._records.glob("*.json"))
        return sorted(number for number in numbers if self.is_finished(number))

    def _record(self, number: int) -> Path:
        return self._records / f"{number}.json"

    def note(self, number: int, span: Span, content: Mapping[str, Any], memory: Any) -> None:
        """Record of a segment that is about to be finished. memory: what the pipeline remembers after it."""
        write_atomically(self._record(number).with_suffix(".memory"), pickle.dumps(memory))
        write_atomically(self._record(number), json.dumps({"span": dataclasses.asdict(span), **content}).encode())

    def record(self, number: int) -> dict[str, Any]:
        """What `note` was given for a segment, `span` as a Span."""
        content = json.loads(self._record(number).read_text())
        content["span"] = Span(**content["span"])
        return dict(content)

    def memory(self, number: int) -> Any:
        """What the pipeline remembered after a segment."""
        return pickle.loads(self._record(number).with_suffix(".memory").read_bytes())

    def write_metadata(self, topics: Sequence[OutputTopic], form: Format) -> None:
        """Make the finished segments a valid bag."""
        spans = {self.file(number).name: self.record(number)["span"] for number in self.finished()}
        write_metadata(self.parts, self.scratch, spans, topics, form, {"state": "unfinished"})

    def note_end(self, rank: int, content: Mapping[str, Any]) -> None:
        """What process `rank` knows at the end of the recording."""
        write_atomically(self.folder / f"end_{rank}.json", json.dumps(content).encode())

    def ending(self) -> dict[str, Any]:
        """What the processes noted at the end; they all saw the same frames, and each has issues of its own."""
        ends = [json.loads(path.read_text()) for path in sorted(self.folder.glob("end_*.json"))]
        issues: dict[tuple[str, str], dict[str, Any]] = {}
        # A run that was interrupted knew of issues that the one that ended it never met.
        sources = [*ends, *(self.record(number) for number in self.finished())]
        for issue in (issue for source in sources for issue in source["issues"]):
            known = issues.setdefault((issue["camera"], issue["kind"]), {**issue, "count": 0})
            known["count"] = max(known["count"], issue["count"])
        problems = list(dict.fromkeys(problem for end in ends for problem in end["problems"]))
        return {**ends[0], "issues": list(issues.values()), "problems": problems}

    def pending(self, summary: Mapping[str, Any]) -> None:
        """The summary of an output that is about to come to its place."""
        write_atomically(self.folder / "run.json.pending", json.dumps(summary).encode())

    def complete(self) -> None:
        """The output is in its place: only the summary stays."""
        (self.folder / "run.json.pending").replace(self.folder / "run.json")
        for folder in (self.parts, self._records, self.scratch, self.chunks):
            shutil.rmtree(folder, ignore_errors=True)
        for path in self.folder.glob("end_*.json"):
            path.unlink()

    def replace_summary(self, summary: Mapping[str, Any]) -> None:
        """Another summary of a complete run."""
        write_atomically(self.folder / "run.json", json.dumps(summary).encode())

    def summary(self) -> dict[str, Any] | None:
        """Summary of a run whose output is in its place, or None."""
        path = self.folder / "run.json"
        if not path.exists() and (self.folder / "run.json.pending").exists():
            self.complete()  # killed just before it
        return json.loads(path.read_text()) if path.exists() else None
