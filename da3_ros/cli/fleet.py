# SPDX-License-Identifier: Apache-2.0
"""``da3 fleet``: many bags on a Ray cluster."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from da3_ros.cli import bag

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tqdm import tqdm

    from da3_ros.bag.fleet.fleet import Status, Watch

NAME = "fleet"
HELP = "reprocess many recorded bags on a Ray cluster, or on all cores of this machine"
FAILED, LOST = bag.FAILED, bag.LOST
STATUS_PERIOD_S = 5.0


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("bags", nargs="+", help="paths, URLs or patterns of bags, as 'bags/*.mcap' or s3://bucket/**")
    parser.add_argument("output", help="folder or URL of the outputs, each named after its bag")
    parser.add_argument("--address", default="local", help="Ray cluster: auto, host:port; default: this machine alone")
    parser.add_argument(
        "--cpus-per-bag", type=float, default=1.0, help="also the threads of a CPU engine, all --processes together"
    )
    parser.add_argument("--gpus-per-bag", type=float, default=0.0, help="a fraction lets several bags share a GPU")
    parser.add_argument("--retries", type=int, default=2, help="more attempts where a machine or process was lost")
    parser.add_argument("--single-files", action="store_true", help="one file a bag instead of a folder")
    parser.add_argument("--restart", action="store_true", help="do finished and half-done bags anew")
    parser.add_argument("--overwrite", action="store_true", help="replace outputs that exist")
    parser.add_argument("--dry-run", action="store_true", help="list the bags and their outputs, and end")
    parser.add_argument("--quiet", action="store_true", help="no progress and no table")
    bag.add_options(parser)


def run(arguments: argparse.Namespace) -> int:
    """0: every bag; 3: all finished, but something of the input could not be used; 1: at least one failed."""
    from tqdm import tqdm

    from da3_ros.bag.fleet.fleet import FleetOptions, make_tasks, run_fleet
    from da3_ros.bag.fleet.inputs import find_inputs
    from da3_ros.bag.fleet.report import counts, results_table, write_summary
    from da3_ros.bag.io import places

    options = FleetOptions(
        arguments.address,
        arguments.cpus_per_bag,
        arguments.gpus_per_bag,
        arguments.retries,
        arguments.single_files,
        arguments.restart,
        arguments.overwrite,
    )
    request = bag.request_of(arguments, Path("-"), Path("-"))
    sources, notes = find_inputs(arguments.bags, arguments.output)
    for note in notes:
        print(f"note: {note}", file=sys.stderr)
    tasks = make_tasks(sources, arguments.output, request, options)
    if arguments.dry_run or not arguments.quiet:
        for task in tasks:
            print(f"{task.source.url} -> {task.output}")
    if arguments.dry_run:
        return 0
    folder = tasks[0].output.rsplit("/", 1)[0]
    if places.is_local(folder):
        places.local_path(folder).mkdir(parents=True, exist_ok=True)
    begin = time.monotonic()
    with tqdm(total=len(tasks), unit="bag", disable=arguments.quiet, dynamic_ncols=True) as bar:
        results = run_fleet(
            tasks, options, watch=_watch(bar, folder), log=lambda text: tqdm.write(text, file=sys.stderr)
        )
    shown = {key: value for key, value in vars(arguments).items() if key not in ("run", "verb", "verbose")}
    page = write_summary(results, folder, time.monotonic() - begin, shown)
    if not arguments.quiet:
        print(results_table(results))
        print(f"report: {page}")
    states = counts(results)
    if states["failed"]:
        names = ", ".join(result.name for result in results if result.state == "failed")
        print(f"da3 fleet: {states['failed']} of {len(results)} bags failed: {names}", file=sys.stderr)
        return FAILED
    if states["lossy"] and arguments.quiet:
        names = ", ".join(result.name for result in results if result.state == "lossy")
        print(f"da3 fleet: something was lost of {names}: see {page}", file=sys.stderr)
    return LOST if states["lossy"] else 0


def _watch(bar: tqdm, folder: str) -> Watch:
    from da3_ros.bag.fleet.report import STATUS, status_json
    from da3_ros.bag.io import places

    written = 0.0

    def watch(statuses: Sequence[Status]) -> None:
        nonlocal written
        ended = sum(status.result is not None for status in statuses)
        sets = sum(status.sets for status in statuses)
        running = sum(status.state == "running" for status in statuses)
        bar.set_postfix_str(f"{running} running, {sets} sets", refresh=False)
        bar.update(ended - bar.n)
        if time.monotonic() - written > STATUS_PERIOD_S or ended == len(statuses):
            places.write_text(places.join(folder, STATUS), status_json(statuses))
            written = time.monotonic()

    return watch
