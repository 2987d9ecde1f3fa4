# SPDX-License-Identifier: Apache-2.0
"""Training runs in processes of their own, from configuration files of the small test networks."""

import atexit
import functools
import json
import os
import subprocess
import sys
import time
from pathlib import Path

SCRIPT = Path(__file__).with_name("run_micro.py")


def environment():
    return {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}


def start_command(path, *launcher, **variables):
    """Begin a run by the command, quietly; launcher: what starts its processes, by default Python. What it says goes
    into a file.
    """
    command = [*(launcher or [sys.executable]), SCRIPT, "train", path]
    with path.with_suffix(".said").open("ab") as said:
        process = subprocess.Popen(command, env={**environment(), **variables}, stdout=said, stderr=said)
    process.said = path.with_suffix(".said")
    return process


def start(path, processes=1):
    """The same in forks of a process that has imported what takes seconds; processes: more than one as torchrun."""
    return Fork(path.with_suffix(".said"), processes, ["train", str(path)])


class Fork:
    """A run in a fork, with what tests use of `subprocess.Popen`."""

    def __init__(self, said, processes, arguments):
        self.said = said
        self.pid = _ask(said=str(said), processes=processes, arguments=arguments)
        self.wait = functools.cache(lambda: _ask(wait=self.pid))

    def send_signal(self, number):
        os.kill(self.pid, number)  # it keeps its number until somebody waits for it


@functools.cache
def _server():
    command = [sys.executable, SCRIPT]
    server = subprocess.Popen(
        command, env=environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    )
    atexit.register(lambda: (server.kill(), server.wait()))
    return server


def _ask(**what):
    server = _server()
    try:
        print(json.dumps(what), file=server.stdin, flush=True)
        return int(server.stdout.readline())
    except BaseException:  # of a test that ran out of time: the next one must not get its answer
        _server.cache_clear()
        raise


def here(path):
    """The same in this process, which has imported PyTorch already; its small networks must be among the presets."""
    from da3_training.cli import main

    main(["train", str(path)])


def finish(*processes):
    """Wait for runs that must succeed."""
    for process in processes:
        assert process.wait() == 0, process.said.read_text()[-4000:]


def read_log(output):
    """The log of a run by step; of steps done again after a resume, the last."""
    lines = (Path(output) / "log.jsonl").read_text().splitlines()
    return {entry["step"]: entry for entry in map(json.loads, lines)}


def losses(config):
    """Loss of every step of a run."""
    return {step: entry["loss"] for step, entry in read_log(config.output).items()}


def wait_for_steps(path, count):
    log = path.with_suffix("") / "log.jsonl"
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline and not (log.is_file() and len(log.read_text().splitlines()) >= count):
        time.sleep(0.01)
