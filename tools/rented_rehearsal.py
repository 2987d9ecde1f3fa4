#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Rehearse `training/rented_gpu/run.sh` without a GPU: a clean folder, a clean virtual environment with what such a
machine has and nothing else, no network where that can be shut off, small numbers.

    make rented                                    a minute of training on made-up packs
    .venv/bin/python tools/rented_rehearsal.py --cargo cargo --minutes 10      the real thing, on a processor

Checks that the command begins, renders, trains, ends in time, writes weights in pieces that fit together, scores, and
goes on after it was killed. Run it with the environment of `make env`, which makes the cargo.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from environment.folder import TOOLS, Environment
from environment.machine import ROOT, SetupError, System
from environment.pins import Requirements
from environment.steps import Steps
from rented_cargo import copy_tree, fetch_wheels, size_of

THERE = ("torch", "numpy", "opencv-python-headless", "scipy", "pyyaml", "tqdm")
"""Packages that a rented machine has, with Lightning (lines `rented` of requirements.txt)."""
SMALL = (
    "stages.0.samples.views_per_batch=4",
    "stages.0.samples.view_counts=[1,2]",
    "stages.0.samples.sizes=[[56,70],[70,56]]",
    "studio.lanes=2",
    "studio.steps_per_room=4",
    "studio.texture_size=64",
    "runtime.checkpoint_minutes=0.1",
    "runtime.sync_steps=2",
    "runtime.picture_steps=5",
    "optimiser.warmup=5",
)
"""What the configuration is told, so that a minute on a processor is enough."""
SLACK = 15.0
"""Seconds by which the command may miss its time."""
LARGEST, MOST = 15_000_000, 8
"""Bytes of a file, and number of files, that can be fetched from the machine."""


class RehearsalError(RuntimeError):
    """The command did not do what it must; the message says what."""


def make_environment(folder: Path, steps: Steps) -> Environment:
    """A virtual environment in an empty folder with what a rented machine has. Raises SetupError."""
    requirements = Requirements.parse((TOOLS / "requirements.txt").read_text())
    pins = [line for line in requirements.common if line.split("==")[0] in THERE]
    environment = Environment(folder)
    steps.run("virtual environment", lambda report: environment.create(System.inspect()))
    steps.run("packages", lambda report: environment.install_pins([*pins, *requirements.special["rented"]], report))
    return environment


def make_cargo(folder: Path, report: object = None) -> None:
    """Made-up furniture, rooms of it as shards to train and to score on, and the shipped weights to begin with."""
    sys.path[:0] = [str(ROOT / "training"), str(ROOT), str(ROOT / "test" / "helpers")]
    from made_assets import write_packages
    from rented_cargo import cut_start

    from da3_training import cli
    from da3_training.scenes import textures
    from da3_training.scenes.assets import Library

    source, wheels, cache = (folder.parent / name for name in ("source", "made_wheels", "cache"))
    for path in (source, wheels, cache):
        path.mkdir()
    write_packages(source, wheels)
    textures.PROCEDURAL.update(dict.fromkeys(textures.PROCEDURAL, 6))
    Library.load(cache, source)
    textures.TextureBank.load(cache, "train", wheels=wheels)
    cli.main(["pack-scenes", str(folder / "packs"), "--cache", str(cache)])
    for split, name in (("train", "photos"), ("heldout", "heldout")):
        rooms = folder.parent / f"rooms_{name}"
        shape = ["--rooms", "3", "--clusters", "2", "--views", "3", "--split", split]
        cli.main(["scenes", "--out", str(rooms), "--packs", str(folder / "packs"), "--cache", str(cache), *shape])
        cli.main(["shards", f"rooms={rooms}", str(folder / name), "--longest", "140"])
    cut_start(str(ROOT / "models" / "da3-nano"), folder / "start")


def command(tree: Path, cargo: Path, scratch: Path, environment: Environment, *options: str) -> subprocess.Popen[str]:
    """Begin `run.sh` as on a bare machine: variables of its own, and no network where a namespace can be had."""
    alone = ["unshare", "--net"] if _can_shut_off() else []
    variables = {name: os.environ[name] for name in ("LANG", "TERM") if name in os.environ}
    variables |= {"PATH": f"{environment.folder / 'bin'}:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": str(scratch / "home")}
    variables |= {"DA3_STOW": str(scratch / "stow"), "PYTHONDONTWRITEBYTECODE": "1"}
    script = [*alone, str(tree / "training" / "rented_gpu" / "run.sh"), str(cargo)]
    script += ["--out", str(scratch / "out"), "--work", str(scratch / "work"), *options]
    return subprocess.Popen(script, env=variables, cwd=scratch, text=True, start_new_session=True)


def _can_shut_off() -> bool:
    return (
        shutil.which("unshare") is not None
        and subprocess.run(["unshare", "--net", "true"], capture_output=True, check=False).returncode == 0
    )


def kill_on_the_way(process: subprocess.Popen[str], work: Path, checkpoints: int = 1, patience: float = 300) -> int:
    """Kill the command and all of its processes when it has written so many checkpoints; returns the newest's step."""
    end = time.monotonic() + patience
    while len(found := sorted((work / "run").glob("step_*/progress.json"))) < checkpoints:
        if process.poll() is not None or time.monotonic() > end:
            raise RehearsalError(f"no checkpoint within {patience:.0f} s (exit code {process.poll()})")
        time.sleep(0.2)
    for group in {process.pid, *_sessions(work)}:
        try:
            os.killpg(group, signal.SIGKILL)
        except ProcessLookupError:
            continue
    process.wait()
    return int(json.loads(found[-1].read_text())["step"])


def _sessions(work: Path) -> list[int]:
    """Process groups of the parts of the course, which have sessions of their own: those that name the work folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if str(work) in path.read_text().replace("\0", " "):
                found.append(os.getpgid(int(path.parent.name)))
        except (OSError, UnicodeDecodeError):
            continue
    return [group for group in found if group != os.getpgid(0)]


def check_results(scratch: Path, python: Path, began: float, minutes: float, code: int, at_least: int) -> list[str]:
    """What came out, in words. Raises RehearsalError where it is not what it must be."""
    took, out = time.time() - began, scratch / "out"
    if code != 0:
        raise RehearsalError(f"run.sh ended with {code}")
    if not 60 * minutes - 60 < took < 60 * minutes + SLACK:
        raise RehearsalError(f"{minutes:g} minutes were given, it took {took:.0f} s")
    files = sorted(out.iterdir())
    large = [f.name for f in files if f.stat().st_size > LARGEST]
    if large or len(files) > MOST:
        raise RehearsalError(f"{len(files)} files, of which {large} are too large to fetch")
    entries = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    steps = {entry["step"] for entry in entries}
    if steps != set(range(max(steps) + 1)) or max(steps) < at_least:
        raise RehearsalError(f"{len(steps)} steps up to {max(steps)}; {at_least} and more were to come")
    if not all(entry["loss"] == entry["loss"] for entry in entries):
        raise RehearsalError("a loss is not a number")
    joined = [str(python), "-m", "da3_training", "join", str(out), "-o", str(scratch / "joined")]
    there = {**os.environ, "PYTHONPATH": f"{ROOT / 'training'}:{ROOT}"}
    done = subprocess.run(joined, env=there, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RehearsalError(f"the pieces do not fit together: {done.stderr}")
    page = (out / "report.md").read_text()
    for words in ("| train |", "| evaluate |", "images/s; of the time", "| export |"):
        if words not in page:
            raise RehearsalError(f"report.md has no {words!r}")
    size = sum(f.stat().st_size for f in files) / 1e6
    return [
        f"{took:.0f} s of {60 * minutes:.0f}; {len(steps)} steps; {len(files)} files, {size:.1f} MB",
        done.stdout.strip(),
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cargo", type=Path, help="of tools/rented_cargo.py, for this Python; default: made up")
    parser.add_argument("--minutes", type=float, default=1.2)
    parser.add_argument("--keep", type=Path, help="folder that gets what came out")
    parser.add_argument("overrides", nargs="*", help="key=value of the configuration, in place of the small ones")
    options = parser.parse_intermixed_args(arguments)
    with tempfile.TemporaryDirectory(prefix="da3_rented_") as folder:
        scratch = Path(folder)
        (scratch / "home").mkdir()
        steps = Steps(4 if options.cargo else 5)
        try:
            environment = make_environment(scratch / "venv", steps)
            tree, cargo = scratch / "tree", options.cargo or scratch / "cargo"
            steps.run("tree", lambda report: print(f"tree: {copy_tree(tree) / 1e6:.1f} MB"))
            if not options.cargo:
                cargo.mkdir()
                steps.run("cargo", partial(make_cargo, cargo))
            wheels = cargo / "wheels"
            version = f"{sys.version_info.major}.{sys.version_info.minor}"
            if not wheels.is_dir():
                steps.run("wheels", lambda report: fetch_wheels(wheels, version))
            print(f"cargo: {size_of(cargo) / 1e6:.1f} MB", flush=True)
            small = options.overrides or ([] if options.cargo else SMALL)
            times = ["--evaluate-minutes", "0.25", "--check-minutes", "0.1"] if not options.cargo else []
            begin = partial(command, tree, cargo.absolute(), scratch, environment)
            killed = kill_on_the_way(begin("--minutes", str(options.minutes), *times, *small), scratch / "work")
            print(f"killed after the checkpoint of step {killed}; the same command again", flush=True)
            began = time.time()
            code = begin("--minutes", str(options.minutes), *times, *small).wait()
            for line in check_results(scratch, Path(sys.executable), began, options.minutes, code, killed):
                print(line)
        except (SetupError, RehearsalError) as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
        finally:
            if options.keep is not None and (scratch / "out").is_dir():
                shutil.copytree(scratch / "out", options.keep, dirs_exist_ok=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
