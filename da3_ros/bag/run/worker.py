# SPDX-License-Identifier: Apache-2.0
"""One process's work on a recording: its segments, each written once it is whole."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from da3_ros.bag.errors import disk_full, is_disk_full
from da3_ros.bag.io.reader import Recording
from da3_ros.bag.io.writer import SegmentWriter
from da3_ros.bag.line.intake import Intake
from da3_ros.bag.line.orders import AheadReach, Orders
from da3_ros.bag.line.stages import Item, Stages
from da3_ros.bag.plan.options import Request
from da3_ros.bag.plan.plan import Plan, most_sets
from da3_ros.bag.run.journal import Journal
from da3_ros.estimation import Estimator
from da3_ros.stream.diagnostics import Health
from da3_ros.sync import FrameCounters

Load = Callable[..., Estimator]
"""(model, EstimatorConfig) -> estimator."""
Progress = Callable[[int, int], None]
"""Called with (sets done, sets at most)."""
Log = Callable[[int, str], None]
"""Called with (level, text)."""


class Worker:
    """Does the segments of one process: all of them, or every n-th."""

    def __init__(
        self,
        recording: Recording,
        plan: Plan,
        request: Request,
        estimator: Estimator,
        journal: Journal,
        log: Log,
        rank: int = 0,
    ) -> None:
        self._recording, self._plan, self._options, self._journal = recording, plan, request.options, journal
        self._estimator, self._rank = estimator, rank
        self._health = Health(plan.parameters.names, log)
        self._counters = FrameCounters(plan.parameters.names)
        self._segment: SegmentWriter | None = None
        self._number = -1
        self._records: list[dict[str, Any]] = []
        self._revoked: list[tuple[str, str]] = []
        self._memory: Any = None

    def run(self, progress: Progress) -> None:
        """Do what is left. Raises DiskFullError, and whatever ends a run; finished segments stay."""
        plan, options = self._plan, self._options
        most = most_sets(self._recording, plan)
        stride = max(1, -(-most // options.pictures)) if options.pictures else 0
        stages = Stages(
            self._recording,
            plan,
            self._estimator,
            self._health,
            self._journal.memory,
            stride,
            self._save_picture,
            window_ahead=options.window_ahead,
            batch=options.batch,
        )
        intake = Intake(
            self._recording,
            plan.parameters,
            self._health,
            self._counters,
            copied=plan.copied,
            static=plan.static,
            moving=plan.moving,
            references=plan.references,
        )
        spacing = plan.parameters.window.spacing_ns
        orders = Orders(options, self._journal.finished(), self._rank, AheadReach(options.window_ahead, spacing))
        line = stages.line(Item(job, order) for job, order in orders(intake))
        try:
            for item in line:
                self._write(item)
                if item.job.frames is not None:
                    progress(item.job.index + 1, most)
            self._finish_segment()
            if not self._journal.finished() and self._rank == 0:  # nothing at all: still a valid, empty bag
                self._open_segment(0)
                self._finish_segment()
        except OSError as error:
            self._abort()
            if is_disk_full(error):
                raise disk_full(self._journal.folder, error, f"it goes on after set {self._kept_sets()}") from error
            raise
        except BaseException:
            self._abort()
            raise
        finally:
            line.close()
        self._journal.note_end(self._rank, self._ending())

    def _kept_sets(self) -> int:
        numbers = self._journal.finished()
        whole = next(i for i in range(len(numbers) + 1) if i not in numbers)
        return whole * self._options.segment_sets

    def _ending(self) -> dict[str, Any]:
        return {
            "frames": {name: asdict(count) for name, count in self._counters.snapshot().items()},
            "issues": self._issues(),
            "problems": list(self._recording.problems),
            "notes": list(self._recording.notes),
        }

    def _issues(self) -> list[dict[str, Any]]:
        return [
            {"camera": camera, "kind": kind, "level": issue.level, "text": issue.text, "count": issue.count}
            for (camera, kind), issue in self._health.issues().items()
        ]

    def _write(self, item: Item) -> None:
        job, size = item.job, self._options.segment_sets
        if not item.order.write:
            return
        number = job.index // size
        if number != self._number and (job.frames is not None or job.copies):
            self._finish_segment()
            self._open_segment(number)
        if self._segment is None:
            return
        for message in job.copies:
            data = self._recording.definition(message.topic).to_cdr(message.raw)
            self._segment.write(message.topic, message.log_ns, data)
        for topic, data in item.outputs:
            self._segment.write(topic, job.log_ns, data)
        if item.record is not None:
            self._records.append(item.record)
        self._revoked += item.revoked
        if item.order.last:
            self._memory = item.memory
            self._finish_segment()

    def _open_segment(self, number: int) -> None:
        self._segment = SegmentWriter(
            self._journal.scratch, self._journal.file(number), self._plan.topics, self._options.form
        )
        self._number, self._records, self._revoked, self._memory = number, [], [], None

    def _finish_segment(self) -> None:
        segment, self._segment = self._segment, None
        if segment is None:
            return
        content = {"sets": self._records, "revoked": self._revoked, "issues": self._issues()}
        segment.finish(lambda span: self._journal.note(self._number, span, content, self._memory))
        self._journal.write_metadata(self._plan.topics, self._options.form)

    def _abort(self) -> None:
        if self._segment is not None:
            self._segment.abort()
            self._segment = None

    def _save_picture(self, name: str, data: bytes) -> None:
        (self._journal.pictures / name).write_bytes(data)
