# SPDX-License-Identifier: Apache-2.0
"""The CPU engine beside upstream's PyTorch: ``python benchmark/cpu_engine.py``.

Equal seeded weights, fp32, every core, the same images; each in a process of its own, timed in turn so that both see
the same moods of the machine. Printed for each number of views: time of an estimate, peak memory, seconds from the
start to the first result, all as ratios to upstream's, and the share of this CPU's measured sgemm rate. Where
OpenVINO is installed and the processor has bfloat16 arithmetic, a second line says the same of that.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

UPSTREAM, OURS, BF16 = WORKERS = ("upstream", "ours", "bf16")
ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "test" / "helpers")]


def main() -> int:
    """Print the tables; exit code 1 where a ratio is above its limit."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--preset", default="da3-small")
    parser.add_argument("--views", type=int, nargs="+", default=[1, 3])
    parser.add_argument("--size", type=int, nargs=2, default=[280, 504], metavar=("H", "W"))
    parser.add_argument("--repeat", type=int, default=9)
    parser.add_argument("--folder", type=Path, help="exported model to reuse, or to make and keep")
    parser.add_argument("--worker", choices=WORKERS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        return _work(arguments)
    with tempfile.TemporaryDirectory() as temporary:
        arguments.folder = arguments.folder or Path(temporary)
        if not (arguments.folder / "unposed.onnx").is_file():
            print(f"exporting {arguments.preset} with seeded weights (about a minute)", flush=True)
            export_seeded(arguments.preset, arguments.folder)
        return _compare(arguments)


def _compare(arguments: argparse.Namespace) -> int:
    height, width = arguments.size
    rate = sgemm_rate()
    print(f"{arguments.preset}, {height} x {width}, fp32, {os.cpu_count()} cores; sgemm {rate / 1e9:.0f} GFLOP/s")
    print(f"{'':>5} {'views':>5} {'upstream':>10} {'here':>10} {'time':>6} {'memory MB':>14} {'ratio':>6}", end=" ")
    print(f"{'start s':>12} {'ratio':>6} {'of sgemm':>9}")
    failed = False
    for views in arguments.views:
        workers = {
            name: Worker(name, arguments.preset, arguments.folder, views, tuple(arguments.size)) for name in runnable()
        }
        for _ in range(arguments.repeat):
            for worker in workers.values():
                worker.time_once()
        reports = {name: worker.close() for name, worker in workers.items()}
        theirs = reports.pop(UPSTREAM)
        for name, report in reports.items():
            ratios = [report[key] / theirs[key] for key in ("seconds", "memory", "start")]
            share = flops(arguments.preset, views, height, width) / report["seconds"] / rate
            print(
                f"{name:>5} {views:5} {1e3 * theirs['seconds']:7.0f} ms {1e3 * report['seconds']:7.0f} ms "
                f"{ratios[0]:6.2f} {theirs['memory']:6.0f} {report['memory']:7.0f} {ratios[1]:6.2f} "
                f"{theirs['start']:6.1f} {report['start']:5.1f} {ratios[2]:6.2f} {100 * share:7.0f} %",
                flush=True,
            )
            failed |= name == OURS and any(r > limit for r, limit in zip(ratios, (0.60, 0.70, 0.50), strict=True))
    return int(failed)


class Worker:
    """A process that estimates once whenever it is told to."""

    def __init__(self, name: str, preset: str, folder: Path, views: int, size: tuple[int, int]) -> None:
        command = [sys.executable, __file__, "--worker", name, "--preset", preset, "--views", str(views)]
        command += ["--size", *map(str, size), "--folder", str(folder)]
        begin = time.perf_counter()
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._answer()
        self.start = time.perf_counter() - begin
        self._seconds: list[float] = []

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the worker ended with code {self._process.wait()}")
        return dict(json.loads(line))

    def _ask(self, word: str) -> dict[str, Any]:
        assert self._process.stdin is not None
        self._process.stdin.write(word + "\n")
        self._process.stdin.flush()
        return self._answer()

    def time_once(self) -> None:
        self._seconds.append(self._ask("run")["seconds"])

    def close(self) -> dict[str, float]:
        memory = self._ask("end")["memory"]
        self._process.wait()
        return {"seconds": statistics.median(self._seconds[1:]), "memory": memory, "start": self.start}

    @property
    def seconds(self) -> list[float]:
        """Of every estimate but the first."""
        return self._seconds[1:]


def _work(arguments: argparse.Namespace) -> int:
    """The worker: load, estimate once, then on every line of input."""
    import numpy as np

    (height, width), views = arguments.size, arguments.views[0]
    images = np.random.default_rng(0).integers(0, 256, (views, height, width, 3), dtype=np.uint8)
    load = {UPSTREAM: _load_upstream, OURS: _load_ours, BF16: _load_bfloat16}[arguments.worker]
    estimate = load(arguments.preset, arguments.folder, images)
    estimate()
    print(json.dumps({}), flush=True)
    for line in sys.stdin:
        if line.strip() == "end":
            print(json.dumps({"memory": _peak_megabytes()}), flush=True)
            return 0
        begin = time.perf_counter()
        estimate()
        print(json.dumps({"seconds": time.perf_counter() - begin}), flush=True)
    return 1


def _peak_megabytes() -> float:
    """Largest resident memory of this program. Not getrusage's: that begins with what the parent had when it forked."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("/proc/self/status has no VmHWM: this measurement needs Linux")


def _load_ours(preset: str, folder: Path, images: Any) -> Any:
    from da3_ros.engines.onnxruntime import OnnxRuntimeEngine

    engine = OnnxRuntimeEngine(folder)
    return lambda: engine.run(images)


def _load_bfloat16(preset: str, folder: Path, images: Any) -> Any:
    from da3_ros.engines.openvino import OpenVinoEngine

    engine = OpenVinoEngine(folder, precision="bf16")
    return lambda: engine.run(images)


def runnable() -> tuple[str, ...]:
    """Workers that this machine has: bfloat16 needs OpenVINO and a processor that has such arithmetic."""
    from da3_ros.engines import EngineError
    from da3_ros.engines.openvino import Processor

    try:
        return WORKERS if Processor.inspect().bf16 else (UPSTREAM, OURS)
    except EngineError:
        return UPSTREAM, OURS


def _load_upstream(preset: str, folder: Path, images: Any) -> Any:
    import torch
    import upstream
    from safetensors.torch import load_file

    net = upstream.build(preset)
    net.load_state_dict(load_file(folder / "model.safetensors"), strict=False)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])

    def estimate() -> Any:
        x = (torch.from_numpy(images).float() / 255 - mean) / std
        return upstream.run(net, x.permute(0, 3, 1, 2)[None], reference="first")

    return estimate


def export_seeded(preset: str, folder: Path) -> None:
    """Graphs of a network with seeded weights, and the weights that upstream's network takes, into `folder`."""
    from upstream import seeded_weights

    from da3_ros.export import export_checkpoint
    from da3_ros.network import create_model
    from da3_ros.network.checkpoint import save_checkpoint

    model = create_model(preset).eval()
    model.load_state_dict(seeded_weights(model.state_dict(), {}))
    folder.mkdir(parents=True, exist_ok=True)
    save_checkpoint(model, folder)
    export_checkpoint(folder, folder)


def sgemm_rate(repeat: int = 12) -> float:
    """Best rate of a product of two 2048 x 2048 matrices in float32, FLOP/s."""
    import torch

    a = torch.rand(2048, 2048)
    seconds = []
    for _ in range(repeat):
        begin = time.perf_counter()
        a @ a
        seconds.append(time.perf_counter() - begin)
    return 2 * 2048**3 / min(seconds)


def flops(preset: str, views: int, height: int, width: int) -> float:
    """Floating point operations of the network, the ray branch that is not published left out."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from da3_ros.network import create_model

    with torch.device("meta"), torch.no_grad():
        model = create_model(preset).eval()
        with FlopCounterMode(display=False) as counter:
            model(torch.empty(1, views, 3, height, width), reference="first")
        total = counter.get_total_flops()
        with FlopCounterMode(display=False) as counter:
            _ray_branch(model, views, height, width)
    return float(total - counter.get_total_flops())


def _ray_branch(model: Any, views: int, height: int, width: int) -> None:
    import torch

    head, scratch = model.head, model.head.scratch
    features, ph, pw = model.preset.head_features, height // 14, width // 14
    laterals = [torch.empty(views, features, round(ph * f), round(pw * f)) for f in (4, 2, 1, 0.5)]
    rays = scratch.output_conv1_aux[-1](head.fuse(laterals, ph, pw, "_aux"))
    scratch.output_conv2_aux[-1](rays)


if __name__ == "__main__":
    sys.exit(main())
