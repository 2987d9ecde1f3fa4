# SPDX-License-Identifier: Apache-2.0
"""What the live node costs beside its engine: ``make bench``, or ``python benchmark/node_overhead.py``.

Two 741x500 cameras in one process, the node in another, every output recorded by a third. The matching that gives the
scale runs beside the engine and may slow it down; so the node runs twice, once with it and once with a given scale. The
overhead is the time of a whole set with it, less the engine's time without it: a ratio, not a property of the machine.
``--viewer`` tells instead what Rerun's viewer costs: publishing with and without one that saves, 5 sets a second.
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tools" / "demo"))

import scenarios
from run import run_scenario
from score import read_outputs

from da3_ros.bag.io.definitions import standard_types
from da3_ros.estimation import Estimator
from da3_ros.messages import encode_camera_info, encode_rgb
from da3_ros.stream.diagnostics import Health
from da3_ros.stream.outputs import Outputs, Publisher, Qos
from da3_ros.stream.parameters import SPECS, camera_specs, read_parameters
from da3_ros.stream.pipeline import Pipeline
from da3_ros.stream.transforms import TransformTree
from da3_ros.sync import Frame, FrameCounters, FrameSet

SETS = 30
"""That are published to measure a viewer."""
STAGES = {
    "decode": "messages to arrays, TF look-up",
    "preprocess": "rectify, resize, stack",
    "engine": "the network; matching runs beside it",
    "scale": "the wait for matching, alignment",
    "post": "scale, range and confidence rules",
    "publish": "depth, info, confidence, clouds, poses to messages",
    "total": "stamp to publish, transport included",
}


def main() -> int:
    """Print p50 and p95 of every stage and the overhead as a share of the engine; exit code 1 above the limit."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="da3-nano")
    parser.add_argument("--limit", type=float, default=15.0, help="largest overhead in percent of the engine")
    parser.add_argument("--hertz", type=float, default=2.0, help="rate of the cameras")
    parser.add_argument("--repeat", type=int, default=3, help="runs of each kind; the median counts")
    parser.add_argument("--viewer", action="store_true", help="instead: what Rerun's viewer costs")
    arguments = parser.parse_args()
    scenario = dataclasses.replace(scenarios.by_name("motorcycle"), hertz=arguments.hertz)
    if arguments.viewer:
        return _viewer_cost(scenario, arguments.model, arguments.repeat)
    given = dataclasses.replace(scenario, parameters={"scale.source": "given"})
    runs, runs_alone, sets = [], [], 0
    for _ in range(arguments.repeat):  # in turn, so that both see the same moods of the machine
        runs_alone.append(_stage_times(given, arguments.model)[0])
        times, count = _stage_times(scenario, arguments.model)
        runs.append(times)
        sets += count
    timing, alone = _median(runs), _median(runs_alone)
    print(f"{arguments.model}, 2 cameras of 741x500, {sets} of {arguments.repeat * len(scenario.load().frames)} sets")
    print(f"{'stage':<12} {'p50 ms':>8} {'p95 ms':>8}")
    for stage, note in STAGES.items():
        print(f"{stage:<12} {timing[f'{stage}_ms_p50']:8.1f} {timing[f'{stage}_ms_p95']:8.1f}  {note}")
    engine = alone["engine_ms_p50"]
    print(f"{'engine alone':<12} {engine:8.1f} {alone['engine_ms_p95']:8.1f}  in a run without matching")
    work = sum(timing[f"{stage}_ms_p50"] for stage in STAGES if stage != "total")
    overhead = 100 * (work / engine - 1)
    print(f"overhead: {work:.1f} ms a set, {overhead:.1f} % above the engine alone (limit {arguments.limit:g} %)")
    return 0 if overhead <= arguments.limit else 1


def _viewer_cost(scenario: scenarios.Scenario, model: str, repeat: int) -> int:
    """Print the processor time that publishing a set takes with and without a viewer that saves it: the network, whose
    time is another in each run, has no part in it.
    """
    found: dict[str, list[float]] = {"none": [], "save": []}
    megabytes = 0.0
    for _ in range(repeat):
        for mode, times in found.items():
            with tempfile.TemporaryDirectory() as folder:
                file = Path(folder) / "live.rrd"
                times.append(1e3 * _publishing(scenario, model, mode, file))
                megabytes += file.stat().st_size / 1e6 if file.exists() else 0.0
    print(f"{model}, 2 cameras of 741x500, every output wanted: {SETS} sets published, median of {repeat} runs")
    without, beside = statistics.median(found["none"]), statistics.median(found["save"])
    print(f"viewer.mode none: {without:.1f} ms of processor time a set; save: {beside:.1f} ms")
    print(f"a set that is shown costs {beside - without:.1f} ms and {megabytes / repeat / SETS:.2f} MB")
    return 0


def _publishing(scenario: scenarios.Scenario, model: str, mode: str, file: Path) -> float:
    """Seconds of the processor, of all threads, for publishing one set; the viewer's beginning is left out."""
    rig = scenario.load()
    given = {"cameras": list(rig.cameras), "viewer.mode": mode, "viewer.address": str(file), "cloud.rate": 0.0}
    defaults = {spec.name: spec.default for spec in (*SPECS, *(s for name in rig.cameras for s in camera_specs(name)))}
    parameters = read_parameters(lambda name: given.get(name, defaults[name]))
    health = Health(parameters.names, lambda level, text: None)
    viewer = None
    if mode != "none":
        from da3_ros.viewer.live import LiveViewer

        viewer = LiveViewer(parameters, lambda kind, text: health.report("", kind, text) if text else None, print)
        viewer.begin()
    types, tree = standard_types(), TransformTree()

    def advertise(kind: str, topic: str, qos: Qos) -> Publisher:
        return _Wanted() if viewer is None else viewer.tee(_Wanted(), topic, kind)

    turn = {} if viewer is None else {"on_set": viewer.on_set}
    outputs = Outputs(advertise, types, parameters, reuse=True, **turn)
    for name, pose in rig.poses.items():
        tree.add("base_link", f"{name}_optical", pose, 0, static=True)
    estimator = Estimator.from_model(model, parameters.estimator)
    pipeline = Pipeline(parameters, estimator, outputs, tree, FrameCounters(parameters.names), health, lambda: 0)
    stamp, frames = 10**18, []
    for name, image in rig.frames[0].items():
        header = types.header(stamp, f"{name}_optical")
        pipeline.set_camera_info(name, encode_camera_info(types, rig.cameras[name], header))
        frames.append(Frame(name, stamp, encode_rgb(types, image, header)))
    work = pipeline.estimate(FrameSet(tuple(frames), stamp))
    assert work is not None, health.issues()
    begin = 0.0
    for index in range(SETS + 3):
        if index == 3:  # those before it warm up
            begin = time.process_time()
        work.frames = FrameSet(tuple(frames), stamp + index * 200_000_000)
        pipeline.publish(work)
        time.sleep(0.2 if index > 2 else 1.0)  # as live, where the viewer has time for each
    used = (time.process_time() - begin) / SETS
    if viewer is not None:
        viewer.close(60.0)
    estimator.close()
    issues = [issue.text for (_, kind), issue in health.issues().items() if kind.startswith("viewer")]
    assert not issues, issues
    return used


class _Wanted:
    """A publisher with a subscriber."""

    def get_subscription_count(self) -> int:
        return 1

    def publish(self, message: object) -> None:
        pass


def _stage_times(scenario: scenarios.Scenario, model: str) -> tuple[dict[str, float], int]:
    """Stage times of a run as the node's diagnostics give them, and the number of sets that it estimated."""
    with tempfile.TemporaryDirectory() as folder:
        recording = run_scenario(scenario, model, Path(folder) / "run")
        out = read_outputs(recording)
    return {key: float(value) for key, value in out.diagnostics["timing"].items()}, len(out.depth)


def _median(runs: list[dict[str, float]]) -> dict[str, float]:
    return {key: statistics.median(run[key] for run in runs) for key in runs[0]}


if __name__ == "__main__":
    sys.exit(main())
