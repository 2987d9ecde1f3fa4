# SPDX-License-Identifier: Apache-2.0
"""``da3 bag`` against the bare engine on the same frames, in one process: a bag of three cameras is written, the
engine alone does the first half of its sets, then the tool does all of them, then the engine the second half.
``python benchmark/bag_throughput.py``; ``--frames 60 --size 140`` is quick. ``--pretend 60``: an engine that takes
60 ms and no processor, as one on a GPU; it shows what does not run beside it, whatever else this machine does.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from rosbags.rosbag2 import StoragePlugin, Writer

from da3_ros.bag.io.definitions import standard_store, standard_types
from da3_ros.bag.io.reader import Recording
from da3_ros.bag.plan.options import DEFAULT_OUTPUTS, Options, Request
from da3_ros.bag.report.report import reconciled
from da3_ros.bag.run.reprocess import reprocess
from da3_ros.engines import Engine, RawEstimate
from da3_ros.estimation import Estimator, EstimatorConfig
from da3_ros.estimation.preprocess import prepare
from da3_ros.estimation.views import View
from da3_ros.messages import decode_camera_info, decode_image, encode_camera_info, encode_rgb, matrix_from_transform

ROOT = Path(__file__).resolve().parents[1]
CAMERAS = ("cam_0", "cam_1", "cam_2")
PERIOD_NS = 100_000_000
START_NS = 1_700_000_000_000_000_000


def main() -> int:
    """Print both rates, their ratio, and where the time went."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--bag", type=Path, default=ROOT / "test" / "data" / "four_cameras", help="where images are from"
    )
    parser.add_argument("--frames", type=int, default=500, help="of each camera")
    parser.add_argument("--size", type=int, default=0, help="longest side of the network's input; 0: recommended")
    parser.add_argument("--width", type=int, default=640, help="of the recorded images, which are raw")
    parser.add_argument("--threads", type=int, default=0, help="of the engine; 0: every core")
    parser.add_argument("--pretend", type=float, default=0, metavar="MS", help="an engine that sleeps so long instead")
    parser.add_argument("--model", default="da3-nano")
    parser.add_argument("--scratch", type=Path, default=None, help="folder for the bags")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    estimator = Estimator.from_model(arguments.model, EstimatorConfig(size=arguments.size, threads=arguments.threads))
    with tempfile.TemporaryDirectory(dir=arguments.scratch) as folder:
        source, output = Path(folder, "rig"), Path(folder, "out.mcap")
        inputs = _write_bag(arguments.bag, source, arguments.frames, arguments.width, estimator)
        if arguments.pretend:
            estimator.engine = _Pretended(estimator.engine, arguments.pretend / 1e3)
        for _ in range(5):
            estimator.engine.run(*inputs[0])
        first = _bare(estimator, inputs, range(arguments.frames // 2))
        assignments = (f"inference.size:={arguments.size}", f"inference.threads:={arguments.threads}")
        options = Options(outputs=DEFAULT_OUTPUTS, pictures=12)
        moments: list[tuple[float, float]] = []

        def load(model: str, config: EstimatorConfig) -> Estimator:
            estimator.reset()
            moments.append((time.perf_counter(), _cpu_seconds()))
            return estimator

        def progress(done: int, most: int) -> None:
            moments[1:] = [(time.perf_counter(), _cpu_seconds())]

        request = Request(
            source, output, assignments=assignments, model=arguments.model, cameras=CAMERAS, options=options
        )
        summary = reprocess(request, load=load, progress=progress)
        second = _bare(estimator, inputs, range(arguments.frames // 2, arguments.frames))
        return _report(summary, arguments.frames, first, second, moments)


class _Pretended:
    """Gives the engine's answer to the first set again and again, after some seconds of sleep."""

    def __init__(self, engine: Engine, seconds: float) -> None:
        self.info, self._engine, self._seconds = engine.info, engine, seconds
        self._answer: RawEstimate | None = None

    def run(
        self,
        images: NDArray[np.uint8],
        extrinsics: NDArray[np.float32] | None = None,
        intrinsics: NDArray[np.float32] | None = None,
        known: NDArray[np.bool_] | None = None,
    ) -> RawEstimate:
        if self._answer is None:
            self._answer = self._engine.run(images, extrinsics, intrinsics, known)
        time.sleep(self._seconds)
        return self._answer


def _report(
    summary: dict[str, Any],
    frames: int,
    first: tuple[float, float],
    second: tuple[float, float],
    moments: list[tuple[float, float]],
) -> int:
    cores = len(os.sched_getaffinity(0))
    (begin, cpu_begin), (end, cpu_end) = moments
    bare_s, bare_cpu = first[0] + second[0], first[1] + second[1]
    sets, wall, cpu = len(summary["sets"]), end - begin, cpu_end - cpu_begin
    print(f"{summary['job']['engine']}")
    for name, counts in summary["frames"].items():
        state = "adds up" if reconciled(counts) else "DOES NOT ADD UP"
        print(f"{name}: received {counts['received']}, used {counts['used']}, dropped {counts['dropped']}: {state}")
    half = frames // 2
    print(f"bare engine  {frames / bare_s:7.3f} sets/s, {bare_cpu / frames:.3f} core-seconds a set", end="")
    print(f" (before {half / first[0]:.3f}, after {(frames - half) / second[0]:.3f} sets/s)")
    print(f"da3 bag      {sets / wall:7.3f} sets/s, {cpu / sets:.3f} core-seconds a set")
    ratio = (sets / wall) / (frames / bare_s)
    print(f"ratio        {ratio:7.3f}")
    extra = cpu / sets - bare_cpu / frames
    share = bare_cpu / frames / (cpu / sets)
    print(
        f"beside the engine a set takes {1e3 * extra:.1f} core-ms: where the engine keeps all {cores} cores busy,",
        end="",
    )
    print(f" no more than {share:.3f} is possible")
    stages = {k: np.array([r["timing_ms"][k] for r in summary["sets"]]) for k in summary["sets"][0]["timing_ms"]}
    print("stage ms: " + ", ".join(f"{name} {values.mean():.1f}" for name, values in stages.items()))
    fine = all(map(reconciled, summary["frames"].values())) and sets == frames
    return 0 if fine else 1


def _bare(estimator: Estimator, inputs: list[tuple[Any, ...]], numbers: range) -> tuple[float, float]:
    """Wall and core seconds of the engine alone."""
    begin, cpu = time.perf_counter(), _cpu_seconds()
    for number in numbers:
        estimator.engine.run(*inputs[_source(number, len(inputs))])
    return time.perf_counter() - begin, _cpu_seconds() - cpu


def _cpu_seconds() -> float:
    return time.process_time()


def _source(number: int, count: int) -> int:
    """There and back again, so that nothing jumps."""
    phase = number % (2 * count - 2)
    return phase if phase < count else 2 * count - 2 - phase


def _write_bag(bag: Path, target: Path, frames: int, width: int, estimator: Estimator) -> list[tuple[Any, ...]]:
    """A longer recording of three cameras from a short one; returns the engine's inputs of the short one's sets."""
    store, types = standard_store(), standard_types()
    with Recording(bag) as recording:
        images: dict[str, list[NDArray[np.uint8]]] = {camera: [] for camera in CAMERAS}
        infos: dict[str, Any] = {}
        for message in recording.messages():
            camera = message.topic.split("/")[1]
            if camera in CAMERAS and "image" in message.topic:
                image = decode_image(recording.read(message.topic, message.raw))
                height = round(image.shape[0] * width / image.shape[1])
                images[camera].append(cv2.resize(image, (width, height), interpolation=cv2.INTER_CUBIC))
            elif camera in CAMERAS:
                infos[camera] = recording.read(message.topic, message.raw)
        static = next(m for m in recording.messages(["/tf_static"]))
        transforms = recording.read(static.topic, static.raw).transforms
    size = images[CAMERAS[0]][0].shape[1::-1]
    poses = {t.child_frame_id: matrix_from_transform(t.transform) for t in transforms}
    models = {
        c: decode_camera_info(infos[c], rectified=False, image_size=(infos[c].width, infos[c].height)) for c in CAMERAS
    }
    models = {camera: model.scaled(*size) for camera, model in models.items()}

    def events() -> Iterator[tuple[str, str, int, bytes | memoryview]]:
        yield "/tf_static", "tf2_msgs/msg/TFMessage", START_NS, static.raw
        for number in range(frames):
            stamp = START_NS + number * PERIOD_NS
            for camera in CAMERAS:
                header = types.header(stamp, infos[camera].header.frame_id)
                kinds = "sensor_msgs/msg/CameraInfo", "sensor_msgs/msg/Image"

                info = encode_camera_info(types, models[camera], header)
                image = encode_rgb(types, images[camera][_source(number, len(images[camera]))], header)
                yield f"/{camera}/camera_info", kinds[0], stamp, bytes(store.serialize_cdr(info, kinds[0]))
                yield f"/{camera}/image_raw", kinds[1], stamp, store.serialize_cdr(image, kinds[1])

    with Writer(target, version=8, storage_plugin=StoragePlugin.MCAP) as writer:
        connections: dict[str, Any] = {}
        for topic, kind, log_ns, raw in events():
            if topic not in connections:
                connections[topic] = writer.add_connection(topic, kind, typestore=store)
            writer.write(connections[topic], log_ns, raw)
    inputs = []
    for number in range(len(images[CAMERAS[0]])):
        views = tuple(
            View(images[camera][number], models[camera], poses[infos[camera].header.frame_id], camera)
            for camera in CAMERAS
        )
        prepared = prepare(views, estimator.size, estimator.engine.info.patch)
        inputs.append((prepared.images, *estimator._known_cameras(views, prepared)))
    return inputs


if __name__ == "__main__":
    sys.exit(main())
