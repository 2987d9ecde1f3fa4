# SPDX-License-Identifier: Apache-2.0
"""Several processes on one machine: each reads the recording and does its part."""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
import queue
from collections.abc import Callable
from typing import Any

import cv2

from da3_ros.bag.errors import BagError, DiskFullError, LostProcessError
from da3_ros.bag.io.reader import Recording
from da3_ros.bag.plan.options import Request
from da3_ros.bag.plan.plan import Plan, make_plan
from da3_ros.bag.run.journal import Journal
from da3_ros.bag.run.worker import Load, Log, Progress, Worker
from da3_ros.estimation import Estimator

_POLL_S = 0.5


Part = Callable[[Recording, Plan, Request, Estimator, int, Progress, Log], None]
"""What a process does: (recording, plan, request, estimator, its number, progress, log)."""


def do_segments(
    recording: Recording, plan: Plan, request: Request, estimator: Estimator, rank: int, progress: Progress, log: Log
) -> None:
    """Every n-th segment."""
    journal = Journal(request.output, request.options.form.suffix)
    Worker(recording, plan, request, estimator, journal, log, rank).run(progress)


def run_processes(request: Request, load: Load, part: Part, progress: Progress, log: Log, *, cores: int = 0) -> None:
    """Do what is left of a request in `options.processes` processes. Raises BagError when one of them fails, a
    LostProcessError where it was lost, or failed for what is not the recording's fault.

    load, part: must be importable, since they go to another process. cores: that the processes share; 0: all.
    """
    context = multiprocessing.get_context("spawn")
    events: Any = context.Queue()
    count = request.options.processes
    workers = [
        context.Process(
            target=_work, args=(request, load, part, rank, cores, events), name=f"da3 bag {rank}", daemon=True
        )
        for rank in range(count)
    ]
    for worker in workers:
        worker.start()
    done: dict[int, int] = {}
    failed: list[tuple[str, bool]] = []
    """What is told, and whether another attempt would meet it again."""
    try:
        while any(worker.is_alive() for worker in workers) or not events.empty():
            try:
                kind, rank, value = events.get(timeout=_POLL_S)
            except queue.Empty:
                continue
            if kind == "progress":
                done[rank] = value[0]
                # All pass over the whole recording: the slowest one tells how far it is.
                progress(min(done.get(r, 0) for r in range(count)), value[1])
            elif kind == "log":
                log(*value)
            else:
                failed.append(value)
    finally:
        for worker in workers:
            if worker.is_alive() and failed:
                worker.terminate()
            worker.join()
    codes = [worker.exitcode for worker in workers]
    if failed or any(codes):
        reason = "; ".join(dict.fromkeys(text for text, _ in failed)) or f"a process ended with {codes}"
        kind = BagError if any(again for _, again in failed) else LostProcessError
        raise kind(f"{reason} (what is finished stays: run the same command again)")


def _work(request: Request, load: Load, part: Part, rank: int, cores: int, events: Any) -> None:
    cv2.setNumThreads(1)
    try:
        with request.open() as recording:
            plan = make_plan(recording, request)
            config = plan.parameters.estimator
            if not config.threads:
                share = max(1, (cores or len(os.sched_getaffinity(0))) // request.options.processes)
                config = dataclasses.replace(config, threads=share)
            # The plan says so, too: an engine that runs cannot have other threads.
            plan = dataclasses.replace(plan, parameters=dataclasses.replace(plan.parameters, estimator=config))
            estimator = load(plan.parameters.model, config)
            part(
                recording,
                plan,
                request,
                estimator,
                rank,
                lambda sets, most: events.put(("progress", rank, (sets, most))),
                lambda level, text: events.put(("log", rank, (level, text))),
            )
    except Exception as error:  # it belongs to the parent
        own = isinstance(error, (BagError, ValueError)) and not isinstance(error, DiskFullError)
        events.put(("failed", rank, (f"process {rank}: {error}", own)))
