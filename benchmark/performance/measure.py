# SPDX-License-Identifier: Apache-2.0
"""The measurements, section by section. Each runs ours and the alternative in turn, in one run."""

from __future__ import annotations

import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import cloud_packing
import cpu_engine
import cv2
import node_stages
import numpy as np
import rays_to_camera
import synchroniser
from numpy.typing import NDArray
from rows import Row, of_times

from da3_ros.messages import decode_image
from da3_ros.node.compat import live_types

ROOT = Path(__file__).resolve().parents[2]
TYPES = live_types()


def ceiling(repeat: int) -> dict[str, float]:
    """What this machine can do at best: GFLOP/s of a float32 product, GB/s of a copy in memory."""
    source = np.zeros(1 << 26, np.uint8)
    target = np.empty_like(source)
    seconds = []
    for _ in range(repeat):
        begin = time.perf_counter()
        np.copyto(target, source)
        seconds.append(time.perf_counter() - begin)
    return {"sgemm_gflops": cpu_engine.sgemm_rate(repeat) / 1e9, "copy_gb_s": 2 * source.nbytes / min(seconds) / 1e9}


def engine(models: list[str], views: list[int], size: tuple[int, int], repeat: int, folder: Path) -> Iterator[Row]:
    """Time, memory and start of an estimate beside the published PyTorch code with the same seeded weights; and how its
    cost grows with the views, beside how its arithmetic does.
    """
    rate = cpu_engine.sgemm_rate()
    for model in models:
        where = folder / model
        if not (where / "unposed.onnx").is_file():
            cpu_engine.export_seeded(model, where)
        first: tuple[float, float] | None = None
        for count in views:
            workers = {n: cpu_engine.Worker(n, model, where, count, size) for n in cpu_engine.runnable()}
            for _ in range(repeat + 1):
                for worker in workers.values():
                    worker.time_once()
            seconds = {n: worker.seconds for n, worker in workers.items()}
            reports = {n: worker.close() for n, worker in workers.items()}
            flops = cpu_engine.flops(model, count, *size)
            middle = statistics.median(seconds[cpu_engine.OURS])
            for worker_name in [n for n in reports if n != cpu_engine.UPSTREAM]:
                how = ", OpenVINO in bfloat16" if worker_name == cpu_engine.BF16 else ""
                name = f"{model}, {count} views, {size[0]}x{size[1]}{how}"
                share = flops / statistics.median(seconds[worker_name]) / rate
                yield of_times(
                    "engine",
                    f"{name}: estimate",
                    "ms",
                    [1e3 * s for s in seconds[worker_name]],
                    [1e3 * s for s in seconds[cpu_engine.UPSTREAM]],
                    "published PyTorch code",
                    note=f"{share:.0%} of this machine's float32 product",
                    command="python benchmark/cpu_engine.py",
                )
                for key, title, unit in (("memory", "peak memory", "MB"), ("start", "start to first result", "s")):
                    yield of_times(
                        "engine", f"{name}: {title}", unit, [reports[worker_name][key]],
                        [reports[cpu_engine.UPSTREAM][key]], "published PyTorch code",
                        command="python benchmark/cpu_engine.py",
                    )  # fmt: skip
            if first is None:
                first = middle, flops
            else:
                yield Row(
                    "engine", f"{model}: {count} views over {views[0]}", "times the cost", middle / first[0], 0.0,
                    "arithmetic", flops / first[1],
                )  # fmt: skip


def node(cameras: list[int], seconds: float, model: str) -> Iterator[Row]:
    """What the node adds to the engine for each camera; and the highest rate that it sustains."""
    for count in cameras:
        times = node_stages.measure(count, seconds, {"model": model})
        each = {stage: times[stage] / count for stage in node_stages.STAGES}
        parts = ", ".join(f"{stage} {value:.2f}" for stage, value in each.items())
        yield Row(
            "node", f"{count} cameras of 1280x720: beside the engine, for each", "ms", sum(each.values()), 0.0,
            note=parts, command="python benchmark/node_stages.py",
        )  # fmt: skip
    for count in cameras:
        rate, latency, dropped = sustained(count, model, seconds)
        yield Row(
            "node", f"{count} cameras: highest rate with less than 5 % dropped", "Hz", rate, 0.0, less_is_better=False,
            note=f"stamp to publish {latency:.0f} ms (median), {dropped:.1%} dropped; model {model}",
        )  # fmt: skip


def sustained(cameras: int, model: str, seconds: float) -> tuple[float, float, float]:
    """Rate (Hz), median latency from the stamp (ms) and the share dropped there: rates are lowered until it is so."""
    from ros_peer import Peer, next_domain

    from da3_ros.geometry import CameraModel

    names = [f"camera{i}" for i in range(cameras)]
    image = cv2.resize(cv2.cvtColor(node_stages.picture(), cv2.COLOR_BGR2RGB), (640, 480))
    camera = CameraModel.pinhole(640, 480, 500.0, 500.0, 319.5, 239.5)
    command = [sys.executable, "-m", "da3_ros.node", "--ros-args", "-p", f"cameras:=[{', '.join(names)}]"]
    command += ["-p", f"model:={model}", "-p", "inference.size:=140", "-p", "scale.source:=given"]
    command += ["-p", "diagnostics.period:=0.5"]
    domain = next_domain()
    with Peer(domain) as peer:
        peer.collect("/da3/latency", "diagnostic_msgs/msg/DiagnosticArray")
        peer.collect("/diagnostics", "diagnostic_msgs/msg/DiagnosticArray")
        for name in names:
            peer.collect(f"/da3/{name}/depth/image_rect", "sensor_msgs/msg/Image")
        environment = {**os.environ, "ROS_DOMAIN_ID": str(domain)}
        process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

        def feed(rate: float, duration: float) -> None:
            due = end = time.monotonic()
            end += duration
            while due < end:
                stamp = peer.now_ns()
                for name in names:
                    peer.send_info(name, camera, stamp)
                    peer.send_image(name, image, stamp)
                due = max(due + 1 / rate, time.monotonic() - 1)
                time.sleep(max(0.0, due - time.monotonic()))

        def counts() -> tuple[int, int]:
            values = peer.diagnostics()[names[0]][2]
            return int(values["received"]), int(values["used"])

        try:
            peer.wait(lambda: peer.node.count_subscribers(f"/{names[-1]}/camera_info"), 60, "the node")
            peer.send_static(_side_by_side(names))
            feed(2.0, 3.0)
            rate = 30.0
            while True:
                time.sleep(1.0)
                received, used = counts()
                peer.received["/da3/latency"].clear()
                feed(rate, seconds)
                time.sleep(1.2)
                after = counts()
                came = max(after[0] - received, 1)
                dropped = 1 - (after[1] - used) / came
                if dropped < 0.05 or rate < 0.5:
                    break
                # The rate that was worked off is about what can be sustained.
                rate = min(0.95 * rate, 1.05 * (after[1] - used) / seconds)
            totals = [
                float(pair.value)
                for message in peer.received["/da3/latency"]
                for pair in message.status[0].values
                if pair.key == "total_ms"
            ]
            return rate, statistics.median(totals), dropped
        finally:
            process.terminate()
            process.wait(20)


def _side_by_side(names: list[str]) -> dict[tuple[str, str], NDArray[np.float64]]:
    """Transforms of a rig; without any, poses would be sought by matches."""
    rig = {}
    for i, name in enumerate(names):
        rig["base_link", f"{name}_optical"] = pose = np.eye(4)
        pose[1, 3] = -0.1 * i
    return rig


def conversions(repeat: int, seconds: float) -> Iterator[Row]:
    """Messages to arrays and back, synchronising, cameras from rays; each beside the common way."""
    yield from _decoding(repeat)
    packing = cloud_packing.measure()
    ours = next(iter(packing.values()))
    for title, times in list(packing.items())[1:] or [("", [])]:
        yield of_times(
            "conversions", f"cloud of 1280x720 points{', beside ' + title if title else ''}", "ms", ours, times, title,
            note="" if title else cloud_packing.MISSING, command="python benchmark/cloud_packing.py",
        )  # fmt: skip
    arrivals = synchroniser.record(seconds)
    results = synchroniser.compare(arrivals, 0.02)
    for case in ("as it came", "one at half rate", "played twice"):
        theirs = results[case, "message_filters"]
        for way in ("ours, anchor", "ours, approximate"):
            mine = results[case, way]
            known = not isinstance(theirs, str)
            assert not isinstance(mine, str)
            yield Row(
                "conversions", f"synchronising 4 cameras, {case}, {way[6:]}: cost", "us a frame", mine[4], 0.0,
                "message_filters" if known else "", theirs[4] if known else None,
                note=f"of possible sets {mine[1]:.3f}" + (f", theirs {theirs[1]:.3f}" if known else f"; {theirs}"),
                command="python benchmark/synchroniser.py",
            )  # fmt: skip
    try:
        found = rays_to_camera.measure(repeat=max(2, repeat // 5))
    except ImportError:
        return
    for case, ways in found.items():
        (angle, focal, mine), (their_angle, their_focal, upstream) = ways["ours"], ways["upstream"]
        yield of_times(
            "conversions", f"4 cameras from their ray maps, {case}", "ms", [1e3 * s for s in mine],
            [1e3 * s for s in upstream], "published function",
            note=f"errors {angle:.4f} deg, {focal:.3f} %; theirs {their_angle:.2f} deg, {their_focal:.2f} %",
            command="python benchmark/rays_to_camera.py",
        )  # fmt: skip


def _decoding(repeat: int) -> Iterator[Row]:
    """Image messages of 1280x720 to RGB, beside a copy into an array of Python's list of the data, and OpenCV's."""
    picture = cv2.resize(node_stages.picture(), (1280, 720))
    jpeg = cv2.imencode(".jpg", picture)[1]
    layouts: dict[str, NDArray[np.uint8]] = {
        "rgb8": picture,
        "bgr8": picture,
        "mono8": picture[..., 0],
        "bayer_rggb8": picture[..., 1],
        "uyvy": picture[..., :2],
    }
    kind = TYPES["sensor_msgs/msg/Image"]
    for encoding, layout in layouts.items():
        pixels = np.ascontiguousarray(layout)
        message = kind(
            header=TYPES.header(0, "camera"), height=720, width=1280, encoding=encoding, step=pixels[0].nbytes,
            data=TYPES.octets(kind, pixels),
        )  # fmt: skip
        # These are so short that single ones say nothing.
        ours = cloud_packing.milliseconds(lambda message=message: decode_image(message), 20 * repeat)
        copies = cloud_packing.milliseconds(lambda message=message: np.array(message.data, np.uint8), 20 * repeat)
        yield of_times(
            "conversions", f"image {encoding} of 1280x720 to RGB", "ms", ours, copies, "one copy of the message's data"
        )
    kind = TYPES["sensor_msgs/msg/CompressedImage"]
    message = kind(header=TYPES.header(0, "camera"), format="jpeg", data=TYPES.octets(kind, jpeg))
    ours = cloud_packing.milliseconds(lambda: decode_image(message), repeat)
    plain = cloud_packing.milliseconds(lambda: cv2.imdecode(jpeg, cv2.IMREAD_COLOR), repeat)
    yield of_times("conversions", "JPEG of 1280x720 to RGB", "ms", ours, plain, "OpenCV's decoder alone")


def bags(quick: bool) -> Iterator[Row]:
    """Sets a second of `da3 bag`, beside the bare engine on the same frames."""
    command = [sys.executable, str(ROOT / "benchmark" / "bag_throughput.py")]
    command += ["--frames", "60", "--size", "140"] if quick else []
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    rates = {
        name: float(value) for name, value in re.findall(r"^(bare engine|da3 bag)\s+([\d.]+) sets/s", done.stdout, re.M)
    }
    yield Row(
        "bags", "three cameras, everything but single clouds", "sets/s", rates["da3 bag"], 0.0, "the bare engine",
        rates["bare engine"], less_is_better=False, command="python benchmark/bag_throughput.py",
    )  # fmt: skip


def tensorrt(repeat: int, views: list[int], size: tuple[int, int]) -> Iterator[Row]:
    """Plans of the models on this machine beside ONNX Runtime; raises RuntimeError where no GPU can run them."""
    from da3_ros.engines.onnxruntime import OnnxRuntimeEngine
    from da3_ros.engines.tensorrt import TensorRTEngine, explain_tensorrt
    from da3_ros.models import ModelError, find_model, load_zoo

    reasons = []
    for model in load_zoo():
        try:
            _, folder = find_model(model)
        except ModelError:
            continue
        usable, reason = explain_tensorrt(folder)
        if not usable:
            reasons.append(f"{model}: {reason}")
            continue
        plan, plain = TensorRTEngine.from_folder(folder), OnnxRuntimeEngine(folder)
        for count in views:
            images = np.random.default_rng(0).integers(0, 256, (count, *size, 3), dtype=np.uint8)
            ours = cloud_packing.milliseconds(lambda plan=plan, images=images: plan.run(images), repeat)
            theirs = cloud_packing.milliseconds(lambda plain=plain, images=images: plain.run(images), repeat)
            name = f"{model}, {count} views, {size[0]}x{size[1]}: {plan.info.backend}"
            yield of_times("TensorRT", name, "ms", ours, theirs, plain.info.backend)
    if reasons:
        raise RuntimeError("; ".join(dict.fromkeys(reason.split(": ", 1)[1] for reason in reasons)))
