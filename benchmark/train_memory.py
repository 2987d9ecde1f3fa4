# SPDX-License-Identifier: Apache-2.0
"""What it brings on a CPU that a training keeps the memory it frees: ``python benchmark/train_memory.py [CONFIG]``.

Steps of the same network on the same random images, in processes of their own that take turns: with the C library as
it is, and with `da3_training.run.memory`. Prints seconds and page faults of a step, and the ratio, on an idle machine.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "training")]


def steps(config_path: Path, count: int, kept: bool) -> dict[str, float]:
    """Median seconds and page faults of `count` steps after three, in this process."""
    import torch

    from da3_ros.network import create_model
    from da3_training.config import load_config
    from da3_training.data.batch import Batch
    from da3_training.run.memory import keep_freed_memory
    from da3_training.run.networks import trainable
    from da3_training.run.parallel import make_fabric
    from da3_training.run.tasks import Learner

    if kept and not keep_freed_memory():
        raise SystemExit("this C library cannot be told to keep memory")
    config = load_config(config_path, {"runtime.accelerator": "cpu"})
    torch.set_num_threads(config.runtime.threads)
    torch.manual_seed(0)
    samples = config.stages[-1].samples
    height, width = (samples.base and (samples.base, samples.base)) or samples.sizes[0]
    shape = (samples.views_per_batch, 1)
    fabric = make_fabric(config.runtime)
    learner = fabric.setup_module(Learner(trainable(create_model(config.preset)), config).train())
    eye = torch.eye(4).repeat(*shape, 1, 1)
    camera = torch.tensor([[width, 0, (width - 1) / 2], [0, width, (height - 1) / 2], [0, 0, 1.0]]).repeat(*shape, 1, 1)
    known = torch.ones(*shape, height, width, dtype=torch.bool)
    batch = Batch(
        torch.randn(*shape, 3, height, width),
        1 + torch.rand(*shape, height, width),
        known,
        ~known,
        ~known,
        known,
        camera,
        eye,
        torch.ones(shape[0], dtype=torch.bool),
        posed=False,
    )
    seconds, faults = [], []
    for _ in range(count + 3):
        begun, before = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        learner.zero_grad(set_to_none=True)
        fabric.backward(learner(batch).loss)
        seconds.append(time.monotonic() - begun)
        faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
    return {"seconds": statistics.median(seconds[3:]), "faults": statistics.median(faults[3:])}


def main() -> None:
    """Take turns, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path, nargs="?", default=ROOT / "training" / "configs" / "nano_photographs.yaml")
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--only", choices=("as it is", "kept"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.only:
        print(json.dumps(steps(options.config, options.steps, options.only == "kept")))
        return
    found: dict[str, list[dict[str, float]]] = {"as it is": [], "kept": []}
    for _ in range(options.turns):
        for name, runs in found.items():
            command = [sys.executable, __file__, str(options.config), "--steps", str(options.steps), "--only", name]
            runs.append(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
    medians = {
        name: {key: statistics.median(run[key] for run in runs) for key in runs[0]} for name, runs in found.items()
    }
    for name, values in medians.items():
        print(f"{name:9s} {values['seconds']:.2f} s a step, {values['faults']:.0f} page faults")
    print(f"ratio {medians['as it is']['seconds'] / medians['kept']['seconds']:.2f}")


if __name__ == "__main__":
    main()
