# SPDX-License-Identifier: Apache-2.0
"""`da3-train` with the small test networks among the presets, for tests that need processes of their own.

Without arguments it imports what training needs and then serves lines of JSON: each begins a run in a fork of this
process, or waits for the end of one; see `run_files`.
"""

import importlib
import json
import os
import sys
import time
from contextlib import suppress
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(folder) for folder in (ROOT, ROOT / "training", ROOT / "test" / "helpers")]

from micro import MICROS

from da3_ros.network import PRESETS
from da3_training.cli import main

PRESETS.update({preset.name: preset for preset in MICROS})
PAUSE = "DA3_TEST_PAUSE"
"""Environment variable: seconds that every step sleeps, for runs that are to last without keeping the processor busy.
"""


def pause():
    """Let every step of the runs of this process begin with a sleep, where that is asked for."""
    if PAUSE not in os.environ:
        return
    from da3_training.run import trainer

    original = trainer._Run._learn
    trainer._Run._learn = lambda *a: (time.sleep(float(os.environ[PAUSE])), original(*a))[1]


def train(arguments):
    """The command."""
    pause()
    main(arguments)


def train_as(count, arguments):
    """As torchrun does it, with processes that are forks of this one."""
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=count,
        run_id="test",
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        start_method="fork",
        max_restarts=0,
    )
    elastic_launch(config, train)(arguments)


def serve():
    """Returns in every fork what that is to run; ends with who asks."""
    for name in ("da3_training.run.trainer", "torch.distributed.launcher.api", "torch.utils.tensorboard"):
        with suppress(Exception):  # TensorBoard need not be there
            importlib.import_module(name)
    for line in sys.stdin:
        asked = json.loads(line)
        if "wait" in asked:
            answer = os.waitstatus_to_exitcode(os.waitpid(asked["wait"], 0)[1])
        elif not (answer := os.fork()):
            said = os.open(asked["said"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
            for number, descriptor in enumerate((os.open(os.devnull, os.O_RDONLY), said, said)):
                os.dup2(descriptor, number)
            return asked
        print(answer, flush=True)
    sys.exit()


if __name__ == "__main__":
    if sys.argv[1:]:
        train(sys.argv[1:])
    else:
        asked = serve()
        if asked["processes"] > 1:
            train_as(asked["processes"], asked["arguments"])
        else:
            train(asked["arguments"])
