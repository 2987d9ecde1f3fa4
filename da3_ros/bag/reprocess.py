# SPDX-License-Identifier: Apache-2.0
"""A whole bag: every frame once, in order, with the live node's buffer, estimator and messages.

The output grows in segments; a run that was interrupted goes on after the last finished one, with what the pipeline
remembered there, so that the whole equals that of a run without interruption.
"""

from __future__ import annotations

import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import cv2

from da3_ros.bag import provenance
from da3_ros.bag.errors import BagError, disk_full, is_disk_full
from da3_ros.bag.intake import Intake, Job
from da3_ros.bag.journal import Journal
from da3_ros.bag.line import assembly_line
from da3_ros.bag.long_windows import LookUp, check_options, long_windows, write_trajectory
from da3_ros.bag.plan import Plan, Request, make_plan
from da3_ros.bag.reader import Recording
from da3_ros.bag.report import write_report
from da3_ros.bag.scene import check_scene, write_poses, write_scene
from da3_ros.bag.stages import Item, Order, Stages
from da3_ros.bag.writer import OutputTopic, SegmentWriter, join, write_metadata
from da3_ros.estimation import Estimator
from da3_ros.stream.diagnostics import Health
from da3_ros.sync import FrameCounters

Load = Callable[..., Estimator]
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
        self._health = Health(plan.parameters.names, log, keep_s=float("inf"))
        self._counters = FrameCounters(plan.parameters.names)
        self._finished = frozenset(journal.finished())
        self._segment: SegmentWriter | None = None
        self._number = -1
        self._records: list[dict[str, Any]] = []
        self._revoked: list[tuple[str, str]] = []
        self._memory: Any = None
        topics = recording.topics
        self.most = min((topics[camera.image_topic].count for camera in plan.parameters.cameras), default=0)
        """Sets that the recording can give at most."""

    def run(self, progress: Progress) -> None:
        """Do what is left. Raises DiskFullError, and whatever ends a run; finished segments stay."""
        plan, options = self._plan, self._options
        stride = max(1, -(-self.most // options.pictures)) if options.pictures else 0
        stages = Stages(
            self._recording, plan, self._estimator, self._health, self._journal.memory, stride, self._save_picture
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
        line = assembly_line(self._orders(intake), stages.decode, stages.estimate, stages.publish)
        done = 0
        try:
            for item in line:
                self._write(item)
                if item.job.frames is not None:
                    done = item.job.index + 1
                    progress(done, self.most)
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
            stages.stop()
            line.close()
        self._journal.note_end(self._rank, self._ending(done))

    def _kept_sets(self) -> int:
        numbers = self._journal.finished()
        whole = next((i for i in range(len(numbers) + 1) if i not in numbers), 0)
        return whole * self._options.segment_sets

    def _ending(self, sets: int) -> dict[str, Any]:
        counts = {name: asdict(count) for name, count in self._counters.snapshot().items()}
        return {
            "sets": sets,
            "frames": counts,
            "issues": self._issues(),
            "problems": list(self._recording.problems),
        }

    def _issues(self) -> list[dict[str, Any]]:
        return [
            {"camera": camera, "kind": kind, "level": issue.level, "text": issue.text, "count": issue.count}
            for (camera, kind), issue in self._health.issues().items()
        ]

    def _orders(self, intake: Intake) -> Iterator[Item]:
        size, warm_up = self._options.segment_sets, self._options.warm_up
        before: int | None = None  # segment of the last set that was estimated and written
        begun = False
        for job in intake:
            number = job.index // size
            ours = self._is_ours(number)
            last = job.frames is not None and job.index % size == size - 1
            order = Order(write=False, estimate=False)
            if ours:
                fresh = recall = None
                if job.frames is not None and before != number and job.index % size == 0:
                    if self._options.processes == 1 and number and before != number - 1:
                        recall = number - 1
                    fresh = number > 0 and not begun and recall is None and before != number - 1
                order = Order(write=True, estimate=True, recall=recall, fresh=bool(fresh), last=last)
                if job.frames is not None:
                    before, begun = number, False
            elif self._warms_up(job, number, size, warm_up):
                order = Order(write=False, estimate=True, fresh=not begun and before != number)
                begun = True
            yield Item(job, order)

    def _warms_up(self, job: Job, number: int, size: int, warm_up: int) -> bool:
        if self._options.processes == 1 or not self._is_ours(number + 1) or job.frames is None:
            return False
        return job.index >= (number + 1) * size - warm_up

    def _is_ours(self, number: int) -> bool:
        return number not in self._finished and number % self._options.processes == self._rank

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


def reprocess(
    request: Request,
    *,
    load: Load = Estimator.from_model,
    progress: Progress = lambda done, most: None,
    log: Log = lambda level, text: None,
    restart: bool = False,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Make the output of a request; returns its summary (`run.json` in the folder beside it).

    A run that was interrupted goes on where it stood; one that is complete already returns its summary at once. load:
    (model, EstimatorConfig) -> estimator. restart: forget an earlier run. overwrite: replace an output of another kind.
    Raises BagError, DiskFullError, ParameterError, da3_ros.models.ModelError.
    """
    _check_paths(request)
    cv2.setNumThreads(1)  # OpenCV's threads spin between calls and take the engine's time
    begin = time.monotonic()
    with Recording(request.source) as recording:
        plan = make_plan(recording, request)
        check_options(request.options, plan.parameters.window.size)
        check_scene(request.options.scene, plan, chunk=bool(request.options.chunk))
        for remark in (*recording.problems, *plan.remarks):
            log(1, remark)
        estimator = load(plan.parameters.model, plan.parameters.estimator)
        job = provenance.job(recording.files, plan.values, estimator.describe(), asdict(request.options))
        journal = Journal(request.output, request.options.form.suffix)
        found, resumed = _begin(journal, job, request.output, restart=restart, overwrite=overwrite)
        if found is not None:
            return found
        try:
            track: dict[str, Any] | None = None
            if request.options.processes > 1:
                from da3_ros.bag.processes import run_processes

                run_processes(request, load, journal, progress, log)
            elif request.options.chunk:
                looked_up, track = _long_windows(recording, plan, request, estimator, journal, progress)
                Worker(recording, plan, request, cast("Estimator", looked_up), journal, log).run(progress)
            else:
                Worker(recording, plan, request, estimator, journal, log).run(progress)
            seconds = time.monotonic() - begin
            summary = _finish(journal, request, plan.topics, job, seconds, resumed=resumed, trajectory=track)
            write_poses(journal.folder, summary)
            for text in write_scene(recording, plan, request, journal.folder, summary):
                log(1, text)
            write_report(request.output)
            return summary
        finally:
            journal.close()


def _long_windows(
    recording: Recording, plan: Plan, request: Request, estimator: Estimator, journal: Journal, progress: Progress
) -> tuple[LookUp, dict[str, Any]]:
    """The first pass of a run with chunks."""
    try:
        looked_up = long_windows(recording, plan, estimator, journal.chunks, request.options, progress)
        return looked_up, write_trajectory(looked_up, journal.folder)
    except OSError as error:
        if is_disk_full(error):
            raise disk_full(journal.folder, error, "it goes on after the last finished chunk") from error
        raise


def _check_paths(request: Request) -> None:
    source, output = request.source.resolve(), request.output.resolve()
    if output == source or source in output.parents or output in source.parents:
        raise BagError(f"the output {request.output} is the input or lies in it: choose another place")
    suffix = request.output.suffix
    if suffix and suffix in (".mcap", ".db3") and suffix != request.options.form.suffix:
        raise BagError(f"the output {request.output} ends in {suffix}, the storage is {request.options.form.storage}")
    if not request.output.parent.is_dir():
        raise BagError(f"the folder {request.output.parent} of the output does not exist: make it")


def _begin(
    journal: Journal, job: dict[str, Any], output: Path, *, restart: bool, overwrite: bool
) -> tuple[dict[str, Any] | None, bool]:
    """Summary of a run that is complete already, else None; and whether an earlier run left something."""
    if output.exists():
        ours = journal.summary() is not None
        if overwrite or (restart and ours):
            _remove(output)
            restart = True
        elif not ours:
            raise BagError(f"{output} exists: choose another name, or replace it with --overwrite")
    resumed = journal.begin(job, restart=restart)
    if output.exists():
        summary = journal.summary()
        journal.close()
        return summary, resumed
    return None, resumed


def _remove(output: Path) -> None:
    if output.is_dir():
        shutil.rmtree(output)
    else:
        output.unlink()


def _finish(
    journal: Journal,
    request: Request,
    topics: tuple[OutputTopic, ...],
    job: dict[str, Any],
    seconds: float,
    *,
    resumed: bool,
    trajectory: dict[str, Any] | None,
) -> dict[str, Any]:
    """Put the output in its place and write the summary."""
    output, form = request.output, request.options.form
    numbers = journal.finished()
    sets, revoked = [], Counter[tuple[str, str]]()
    messages = Counter[str]()
    for number in numbers:
        record = journal.record(number)
        sets += record["sets"]
        revoked.update((camera, cause) for camera, cause in record["revoked"])
        messages.update(record["span"].counts)
    ending = journal.ending()
    frames = ending["frames"]
    for (camera, cause), count in revoked.items():
        frames[camera]["used"] -= count
        frames[camera]["dropped"][cause] = frames[camera]["dropped"].get(cause, 0) + count
    summary = {
        "output": output.name,
        "job": job,
        "versions": provenance.versions(),
        "input_sha256": {file["path"]: provenance.sha256(Path(file["path"])) for file in job["input"]},
        "seconds": seconds,
        "resumed": resumed,
        "frames": frames,
        "messages": dict(messages),
        "issues": ending["issues"],
        "problems": ending["problems"],
        "trajectory": trajectory,
        "sets": sets,
    }
    journal.pending(summary)
    if output.suffix == form.suffix:
        join([journal.file(number) for number in numbers], journal.scratch, output, topics, form)
    else:
        custom = {"da3_ros": job["version"], "model": job["engine"].get("model", "")}
        custom["graph_sha256"] = job["engine"].get("graph_sha256", "")
        spans = {journal.file(number).name: journal.record(number)["span"] for number in numbers}
        write_metadata(journal.parts, spans, topics, form, custom)
        journal.parts.rename(output)
    journal.complete()
    return summary
