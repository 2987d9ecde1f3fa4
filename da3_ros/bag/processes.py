# SPDX-License-Identifier: Apache-2.0
"""Several processes on one machine: each reads the recording and does every n-th segment."""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
import queue
from typing import Any

import cv2

from da3_ros.bag.errors import BagError
from da3_ros.bag.journal import Journal
from da3_ros.bag.plan import Request, make_plan
from da3_ros.bag.reader import Recording
from da3_ros.bag.reprocess import Load, Log, Progress, Worker

_POLL_S = 0.5


def run_processes(request: Request, load: Load, journal: Journal, progress: Progress, log: Log) -> None:
    """Do what is left of a request in `options.processes` processes. Raises BagError when one of them fails.

    load: must be importable, since it goes to another process.
    """
    context = multiprocessing.get_context("spawn")
    events: Any = context.Queue()
    count = request.options.processes
    workers = [
        context.Process(target=_work, args=(request, load, rank, events), name=f"da3 bag {rank}", daemon=True)
        for rank in range(count)
    ]
    for worker in workers:
        worker.start()
    done: dict[int, int] = {}
    failed: list[str] = []
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
        reason = "; ".join(dict.fromkeys(failed)) or f"a process ended with {codes}"
        raise BagError(f"{reason} (finished segments stay: run the same command again)")


def _work(request: Request, load: Load, rank: int, events: Any) -> None:
    cv2.setNumThreads(1)
    try:
        with Recording(request.source) as recording:
            plan = make_plan(recording, request)
            config = plan.parameters.estimator
            if not config.threads:
                share = max(1, len(os.sched_getaffinity(0)) // request.options.processes)
                config = dataclasses.replace(config, threads=share)
            estimator = load(plan.parameters.model, config)
            journal = Journal(request.output, request.options.form.suffix)
            worker = Worker(
                recording,
                plan,
                request,
                estimator,
                journal,
                lambda level, text: events.put(("log", rank, (level, text))),
                rank,
            )
            worker.run(lambda sets, most: events.put(("progress", rank, (sets, most))))
    except Exception as error:  # it belongs to the parent
        events.put(("failed", rank, f"process {rank}: {error}"))
