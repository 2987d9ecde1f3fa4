# SPDX-License-Identifier: Apache-2.0
"""Many bags on a Ray cluster: one task a bag, another attempt where a machine is lost, a status for others to read."""

from __future__ import annotations

import dataclasses
import logging
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from da3_ros.bag.errors import BagError
from da3_ros.bag.fleet.board import Board
from da3_ros.bag.fleet.task import Result, Task, process_bag
from da3_ros.bag.io import places
from da3_ros.bag.plan.options import Request
from da3_ros.bag.run.reprocess import Load
from da3_ros.estimation import Estimator

_PAUSE_S = 2.0
"""Before another attempt: what was lost may need a moment."""
_POLL_S = 0.5


@dataclass(frozen=True)
class FleetOptions:
    """How a fleet runs. Raises BagError for a value that makes no sense."""

    address: str = "local"
    """``local``: this machine; ``auto`` or ``host:port`` or ``ray://host:port``: a cluster that runs already."""
    cpus_per_bag: float = 1.0
    gpus_per_bag: float = 0.0
    retries: int = 2
    """Further attempts for a bag that failed for what is not its own fault."""
    single_files: bool = False
    """Whether outputs are single files instead of folders."""
    restart: bool = False
    overwrite: bool = False
    """Whether outputs that exist and are of nothing that a fleet did are replaced."""

    def __post_init__(self) -> None:
        for name in ("cpus_per_bag", "gpus_per_bag", "retries"):
            if getattr(self, name) < 0:
                raise BagError(f"{name} = {getattr(self, name)}; it must be at least 0")


@dataclass(frozen=True)
class Status:
    """Where a bag stands."""

    name: str
    state: str
    """``waiting``, ``running``, or the state of its result."""
    sets: int = 0
    most: int = 0
    attempts: int = 0
    host: str = ""
    result: Result | None = None


Watch = Callable[[Sequence[Status]], None]
"""Called when something changed, and now and then."""
Log = Callable[[str], None]


def make_tasks(sources: Sequence[places.Source], output: str, request: Request, options: FleetOptions) -> list[Task]:
    """A task for each bag; outputs lie in the folder `output`, named after their bags. Raises BagError where an output
    would lie on its input.
    """
    suffix = request.options.form.suffix if options.single_files else ""
    folder = str(places.local_path(output)) if places.is_local(output) else output
    cores = max(1, int(options.cpus_per_bag))
    if request.params_file is not None:
        request = dataclasses.replace(request, params_file=request.params_file.absolute())
    if request.model is not None and Path(request.model).is_dir():
        request = dataclasses.replace(request, model=str(Path(request.model).absolute()))
    tasks = [
        Task(
            source,
            places.join(folder, source.name + suffix),
            request,
            restart=options.restart,
            overwrite=options.overwrite,
            cores=cores,
        )
        for source in sources
    ]
    inputs = {source.url.rstrip("/") for source in sources}
    clash = next((task.output for task in tasks if task.output in inputs), None)
    if clash is not None:
        raise BagError(f"the output {clash} is an input: choose another folder")
    return tasks


def run_fleet(
    tasks: Sequence[Task],
    options: FleetOptions,
    *,
    load: Load = Estimator.from_model,
    watch: Watch = lambda statuses: None,
    log: Log = lambda text: None,
) -> list[Result]:
    """Do all tasks; results in their order. A bag that fails never stops the others.

    load: must be importable on every machine of the cluster. Raises BagError where Ray is not installed, or where the
    cluster cannot be reached or has not what a bag needs.
    """
    with _cluster(options.address) as ray:
        _check_resources(ray, options, log)
        board = _board(ray)
        remote = ray.remote(
            num_cpus=options.cpus_per_bag, num_gpus=options.gpus_per_bag, max_retries=0, scheduling_strategy="SPREAD"
        )(_attempt)
        return _drive(ray, tasks, lambda task: remote.remote(task, load, board), board, options.retries, watch, log)


def _attempt(task: Task, load: Load, board: Any) -> Result:
    """Runs on a machine of the cluster."""
    import cv2

    cv2.setNumThreads(1)
    last = 0.0

    def progress(done: int, most: int) -> None:
        nonlocal last
        if time.monotonic() - last > 1 or done == most:
            last = time.monotonic()
            board.report.remote(task.source.name, done, most)

    board.report.remote(task.source.name, 0, 0)
    return process_bag(task, load, progress)


def _board(ray: Any) -> Any:
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=True)
    return ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1, scheduling_strategy=here)(Board).remote()


def _drive(
    ray: Any,
    tasks: Sequence[Task],
    submit: Callable[[Task], Any],
    board: Any,
    retries: int,
    watch: Watch,
    log: Log,
) -> list[Result]:
    statuses = {task.source.name: Status(task.source.name, "waiting") for task in tasks}
    by_name = {task.source.name: task for task in tasks}
    running: dict[Any, str] = {}
    later: list[tuple[float, str]] = [(0.0, name) for name in by_name]
    while running or later:
        now = time.monotonic()
        for name in [name for moment, name in later if moment <= now]:
            running[submit(by_name[name])] = name
            statuses[name] = dataclasses.replace(statuses[name], attempts=statuses[name].attempts + 1)
        later = [(moment, name) for moment, name in later if moment > now]
        finished = ray.wait(list(running), timeout=_POLL_S)[0] if running else []
        if not running:
            time.sleep(_POLL_S)
        for reference in finished:
            name = running.pop(reference)
            result = _result(ray, reference, by_name[name], statuses[name].attempts)
            if result.state == "failed" and result.again and statuses[name].attempts <= retries:
                log(f"{name}: attempt {statuses[name].attempts} failed, once more: {result.error}")
                statuses[name] = dataclasses.replace(statuses[name], state="waiting", host=result.host)
                later.append((time.monotonic() + _PAUSE_S, name))
                continue
            statuses[name] = dataclasses.replace(
                statuses[name], state=result.state, sets=result.sets, host=result.host, result=result
            )
            if result.state == "failed":
                log(f"{name}: failed: {result.error}")
        waiting = {name for _, name in later}
        for name, (done, most) in _read(ray, board).items():
            if statuses[name].result is None and name not in waiting:
                statuses[name] = dataclasses.replace(statuses[name], state="running", sets=done, most=most)
        watch(list(statuses.values()))
    return [status.result for status in statuses.values() if status.result is not None]


def _result(ray: Any, reference: Any, task: Task, attempts: int) -> Result:
    try:
        result = ray.get(reference)
    except ray.exceptions.RayError as error:  # the machine or its process is gone
        text = f"{type(error).__name__}: {str(error).strip().splitlines()[0]}"
        result = Result(task.source.name, task.source.url, "failed", task.output, error=text, again=True)
    return dataclasses.replace(result, attempts=attempts)


def _read(ray: Any, board: Any) -> dict[str, tuple[int, int]]:
    try:
        return dict(ray.get(board.read.remote(), timeout=5))
    except ray.exceptions.RayError:
        return {}  # progress only; the board comes back by itself


@contextmanager
def _cluster(address: str) -> Iterator[Any]:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # Ray tells its makers of every use otherwise
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        import ray
    except ImportError as error:
        raise BagError(f"da3 fleet needs Ray ({error}): `pip install ray fsspec`") from error
    ours = not ray.is_initialized()
    if ours:
        try:
            if address == "local":
                ray.init(include_dashboard=False, log_to_driver=False, logging_level=logging.WARNING)
            else:
                ray.init(address, log_to_driver=False, logging_level=logging.WARNING)
        except (ConnectionError, ValueError, RuntimeError, OSError) as error:
            text = str(error).strip().splitlines()[0]
            raise BagError(f"no Ray cluster at {address!r} ({text}): start one, or leave --address out") from error
    try:
        yield ray
    finally:
        if ours:
            ray.shutdown()


def _check_resources(ray: Any, options: FleetOptions, log: Log) -> None:
    """A task that no machine can take would wait for ever."""
    machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    wanted = {"CPU": options.cpus_per_bag, "GPU": options.gpus_per_bag}
    if any(all(machine.get(kind, 0) >= count for kind, count in wanted.items()) for machine in machines):
        return
    found = "; ".join(f"{m.get('CPU', 0):g} CPU, {m.get('GPU', 0):g} GPU" for m in machines)
    text = f"a bag needs {wanted['CPU']:g} CPU and {wanted['GPU']:g} GPU, the machines have: {found}"
    if options.address == "local":
        raise BagError(f"{text}: lower --cpus-per-bag or --gpus-per-bag")
    log(f"{text}; waiting for a machine that has it")
