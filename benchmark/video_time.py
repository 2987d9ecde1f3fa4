# SPDX-License-Identifier: Apache-2.0
"""``da3 bag walk.mp4 out.mcap`` as a newcomer runs it, against the engine alone on the same pictures: the engine does
the first half of what the run asks of it, then the whole run (reading, poses, refinement, trajectory, cloud, page),
then the engine the second half, in one process. ``python benchmark/video_time.py --video FILE``; without a video, one
is made of a rendered walk (``--frames 40`` is quick).
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import da3_ros.cli  # noqa: F401  # isort: skip  # as the command does: it has NumPy leave the cores to the engine

import cv2

sys.path.insert(0, str(Path(__file__).resolve().parent))

from walk import add_arguments, walk_of

from da3_ros.bag.plan.options import Options, Request
from da3_ros.bag.run.reprocess import reprocess
from da3_ros.bag.sources import Reading
from da3_ros.estimation import Estimator, EstimatorConfig

FPS = 5.0


class Noting:
    """An engine that notes what it is asked, and how long it takes for that while all else runs beside it."""

    def __init__(self, engine: Any) -> None:
        self._engine = engine
        self.asked: list[tuple[Any, ...]] = []
        self.seconds = 0.0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def run(self, *arguments: Any) -> Any:
        self.asked.append(arguments)
        begin = time.perf_counter()
        answer = self._engine.run(*arguments)
        self.seconds += time.perf_counter() - begin
        return answer


def bare(estimator: Estimator, asked: list[tuple[Any, ...]]) -> float:
    """Seconds of the engine alone."""
    begin = time.perf_counter()
    for arguments in asked:
        estimator.engine.run(*arguments)
    return time.perf_counter() - begin


def once(estimator: Estimator, video: Path, output: Path, reading: Reading) -> tuple[float, Noting, dict[str, Any]]:
    """Seconds of a run from the first byte to the page."""
    engine = estimator.engine
    noting = Noting(engine)
    estimator.engine = noting  # it passes all else on

    def load(model: str, config: EstimatorConfig) -> Estimator:
        estimator.reconfigure(config)
        estimator.reset()
        return estimator

    request = Request(video, output, options=Options(by_recording=True), reading=reading)
    begin = time.perf_counter()
    summary = reprocess(request, load=load)
    seconds = time.perf_counter() - begin
    estimator.engine = engine
    return seconds, noting, summary


def main() -> int:
    """Print both times and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_arguments(parser)
    parser.set_defaults(frames=100)
    parser.add_argument("--video", type=Path, help="another one than the rendered walk")
    parser.add_argument("--fps", type=float, default=FPS)
    parser.add_argument("--camera-info", nargs="+", default=[], help="as of da3 bag: depth is then refined as well")
    parser.add_argument("--model", default="da3-nano")
    arguments = parser.parse_args()
    estimator = Estimator.from_model(arguments.model)
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as folder:
        video = arguments.video or _written(Path(folder) / "walk.mp4", arguments)
        # The first run shows what the engine is asked, and warms everything up.
        reading = Reading(arguments.fps, tuple(arguments.camera_info))
        _, asked, _ = once(estimator, video, Path(folder) / "first.mcap", reading)
        half = len(asked.asked) // 2
        alone = bare(estimator, asked.asked[:half])
        seconds, noting, summary = once(estimator, video, Path(folder) / "out.mcap", reading)
        alone += bare(estimator, asked.asked[half:])
    sets = len(summary["sets"])
    print(f"{sets} pictures in {len(noting.asked)} chunks, {arguments.model}")
    print(f"engine alone            {alone:7.1f} s  {sets / alone:.2f} pictures/s")
    print(f"da3 bag, whole          {seconds:7.1f} s  {sets / seconds:.2f} pictures/s")
    print(f"  of which in the engine {noting.seconds:6.1f} s")
    print(f"whole / engine alone    {seconds / alone:7.2f}")
    return 0


def _written(path: Path, arguments: argparse.Namespace) -> Path:
    walk = walk_of(arguments)
    height, width = walk.images.shape[1:3]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), FPS, (width, height))
    for image in walk.images:
        writer.write(cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    writer.release()
    return path


if __name__ == "__main__":
    sys.exit(main())
