# SPDX-License-Identifier: Apache-2.0
"""A whole bag: every frame once, in order, with the live node's buffer, estimator and messages.

The output grows in segments; a run that was interrupted goes on after the last finished one, with what the pipeline
remembered there, so that the whole equals that of a run without interruption.
"""

from __future__ import annotations

import dataclasses
import shutil
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import cv2

from da3_ros.bag.errors import BagError
from da3_ros.bag.io.reader import Recording
from da3_ros.bag.io.writer import join, write_metadata
from da3_ros.bag.line.look_up import LookUp, write_trajectory
from da3_ros.bag.plan.options import Options, Request
from da3_ros.bag.plan.plan import Plan, make_plan
from da3_ros.bag.plan.records import refinement_totals
from da3_ros.bag.plan.sources import settled
from da3_ros.bag.plan.unmet import unmet_scale
from da3_ros.bag.report import provenance
from da3_ros.bag.report.report import write_report
from da3_ros.bag.run.first_pass import make_chunks
from da3_ros.bag.run.journal import Journal
from da3_ros.bag.run.long_windows import align_chunks, check_options
from da3_ros.bag.run.processes import do_segments, run_processes
from da3_ros.bag.run.worker import Load, Log, Progress, Worker
from da3_ros.bag.scene.scene import check_scene, fuse_scene, write_poses, write_scene
from da3_ros.bag.scene.shown import write_view
from da3_ros.engines import EngineError
from da3_ros.estimation import Estimator

_OF_A_RECORDING = {"metadata.yaml", "metadata.yaml.bak"}


def reprocess(
    request: Request,
    *,
    load: Load = Estimator.from_model,
    progress: Progress = lambda done, most: None,
    log: Log = lambda level, text: None,
    restart: bool = False,
    overwrite: bool = False,
    cores: int = 0,
) -> dict[str, Any]:
    """Make the output of a request; returns its summary (`run.json` in the folder beside it).

    A run that was interrupted goes on where it stood; one that is complete already returns its summary at once. load:
    (model, EstimatorConfig) -> estimator. restart: forget an earlier run. overwrite: replace an output of another kind.
    cores: that an engine on the CPU may use where `inference.threads` is 0, all processes together; 0: all.
    Raises BagError, DiskFullError, ParameterError, da3_ros.models.ModelError.
    """
    _check_paths(request)
    cv2.setNumThreads(1)  # OpenCV's threads spin between calls and take the engine's time
    begin = time.monotonic()
    with request.open() as recording:
        recording.check_content()
        request = settled(request, recording)
        plan = _with_cores(make_plan(recording, request), cores)
        check_options(request.options, plan.parameters.window.size)
        check_scene(request.options.scene, plan, chunk=bool(request.options.chunk))
        for remark in (*recording.problems, *recording.notes, *plan.remarks):
            log(1, remark)
        estimator = load(plan.parameters.model, plan.parameters.estimator)
        check_batch(estimator, plan, request.options)
        job = provenance.job(request.files(recording), plan.values, estimator.describe(), request.as_options())
        journal = Journal(request.output, request.options.form.suffix)
        found, resumed = _begin(journal, job, request.output, restart=restart, overwrite=overwrite)
        if found is not None:
            return found
        try:
            track: dict[str, Any] | None = None
            if request.options.chunk:
                looked_up = _long_windows(recording, plan, request, load, estimator, journal, progress, log, cores)
                track = write_trajectory(looked_up, journal.folder)
                # The engine's part is done: what is left is quick, and its order tells which track a set belongs to.
                alone = dataclasses.replace(request, options=dataclasses.replace(request.options, processes=1))
                Worker(recording, plan, alone, cast("Estimator", looked_up), journal, log).run(progress)
            elif request.options.processes > 1:
                run_processes(request, load, do_segments, progress, log, cores=cores)
            else:
                Worker(recording, plan, request, estimator, journal, log).run(progress)
            seconds = time.monotonic() - begin
            summary = _finish(
                journal, request, plan, job, request.files(recording), seconds, resumed=resumed, trajectory=track
            )
            _write_beside(recording, plan, request, journal, summary, log)
            return summary
        finally:
            journal.close()


def _with_cores(plan: Plan, cores: int) -> Plan:
    """The plan with a number of threads for the engine, where it names none. (It must say what the engine has: one that
    runs cannot be given another number.)
    """
    config = plan.parameters.estimator
    if config.threads or not cores:
        return plan
    parameters = dataclasses.replace(plan.parameters, estimator=dataclasses.replace(config, threads=cores))
    return dataclasses.replace(plan, parameters=parameters)


def check_batch(estimator: Estimator, plan: Plan, options: Options) -> None:
    """Raise BagError where the model cannot take `options.batch` sets at once."""
    if options.batch == 1:
        return
    if options.chunk:
        raise BagError(f"a chunk goes through the engine alone: leave --batch out ({options.batch})")
    views = len(plan.parameters.cameras) * (1 + plan.parameters.window.size + options.window_ahead)
    try:
        estimator.check_batch(options.batch, views)
    except EngineError as error:
        raise BagError(str(error)) from error


def _long_windows(
    recording: Recording,
    plan: Plan,
    request: Request,
    load: Load,
    estimator: Estimator,
    journal: Journal,
    progress: Progress,
    log: Log,
    cores: int,
) -> LookUp:
    """The first pass of a run with chunks, and their alignment."""
    if request.options.processes > 1:
        run_processes(request, load, make_chunks, progress, log, cores=cores)
    else:
        make_chunks(recording, plan, request, estimator, 0, progress, log)
    config = plan.parameters.estimator
    return align_chunks(journal.chunks, estimator.describe(), config, loops=request.options.loops)


def _write_beside(
    recording: Recording, plan: Plan, request: Request, journal: Journal, summary: dict[str, Any], log: Log
) -> None:
    """Poses, scenes, the 3D view and the report beside an output that is whole. What cannot be made is a problem in the
    summary, and ends nothing: hours of work must not look lost for a picture.
    """

    def attempt(what: str, make: Callable[[], Any]) -> Any:
        try:
            return make()
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
            problem = f"{what} could not be written ({reason}); the output {request.output.name} is whole"
            log(2, problem)
            summary["problems"].append(problem)
            journal.replace_summary(summary)
            return None

    attempt("the poses", lambda: write_poses(journal.folder, summary))
    fused = attempt("the scene", lambda: fuse_scene(recording, plan, request, summary))
    if fused is not None:
        for text in attempt("the scene", lambda: write_scene(fused, request, journal.folder, summary)) or ():
            log(1, text)
        attempt("the 3D view", lambda: write_view(fused, recording, plan, request, journal.folder, summary))
    attempt("the report", lambda: write_report(request.output))


def _check_paths(request: Request) -> None:
    source, output = request.source.resolve(), request.output.resolve()
    if output == source or source in output.parents or output in source.parents:
        raise BagError(f"the output {request.output} is the input or lies in it: choose another place")
    suffix = request.output.suffix
    if suffix and suffix in (".mcap", ".db3") and suffix != request.options.form.suffix:
        raise BagError(f"the output {request.output} ends in {suffix}, the storage is {request.options.form.storage}")


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
    """Take a recording away. Raises BagError for what is none: nothing else is deleted."""
    is_folder = output.is_dir() and not output.is_symlink()
    if is_folder and all(path.name in _OF_A_RECORDING or _is_recording(path) for path in output.iterdir()):
        shutil.rmtree(output)
    elif not is_folder and _is_recording(output):
        output.unlink()
    else:
        what = "holds other things than a recording" if is_folder else "is no recording"
        raise BagError(f"{output} {what}, and --overwrite deletes recordings alone: choose another name")


def _is_recording(path: Path) -> bool:
    return path.is_file() and bool(set(path.suffixes) & {".mcap", ".db3", ".bag"})


def _finish(
    journal: Journal,
    request: Request,
    plan: Plan,
    job: dict[str, Any],
    files: Sequence[Path],
    seconds: float,
    *,
    resumed: bool,
    trajectory: dict[str, Any] | None,
) -> dict[str, Any]:
    """Put the output in its place and write the summary."""
    output, form, topics = request.output, request.options.form, plan.topics
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
        "input_sha256": {each["path"]: provenance.sha256(Path(each["path"]), files) for each in job["input"]},
        "seconds": seconds,
        "resumed": resumed,
        "frames": frames,
        "messages": dict(messages),
        "issues": ending["issues"],
        "problems": [*ending["problems"], *unmet_scale(plan, sets)],
        "remarks": [*ending.get("notes", ()), *plan.remarks],
        "pictures": [asdict(picture) for picture in plan.pictures],
        "trajectory": trajectory,
        "refinement": refinement_totals(sets),
        "sets": sets,
    }
    journal.pending(summary)
    if output.suffix == form.suffix:
        join([journal.file(number) for number in numbers], journal.scratch, output, topics, form)
    else:
        custom = {"da3_ros": job["version"], "model": job["engine"].get("model", "")}
        custom["graph_sha256"] = job["engine"].get("graph_sha256", "")
        spans = {journal.file(number).name: journal.record(number)["span"] for number in numbers}
        write_metadata(journal.parts, journal.scratch, spans, topics, form, custom)
        journal.parts.rename(output)
    journal.complete()
    return summary
