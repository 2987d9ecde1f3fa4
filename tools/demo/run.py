# SPDX-License-Identifier: Apache-2.0
"""Starts the three processes of a scenario and waits for them."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from scenarios import ROOT, Scenario
from tqdm import tqdm

HERE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Recording:
    """What a run left behind."""

    bag: Path
    start_ns: int
    """Stamp of the first frame; frame i has start_ns + i * period_ns."""
    period_ns: int
    sent: int


def recorded_topics(cameras: list[str]) -> dict[str, str]:
    """Topics that the demo records, with their types."""
    topics = {
        "/da3/points": "sensor_msgs/msg/PointCloud2",
        "/diagnostics": "diagnostic_msgs/msg/DiagnosticArray",
    }
    topics["/tf_static"] = "tf2_msgs/msg/TFMessage"
    for name in cameras:
        topics[f"/da3/{name}/depth/image_rect"] = "sensor_msgs/msg/Image"
        topics[f"/da3/{name}/depth/camera_info"] = "sensor_msgs/msg/CameraInfo"
        topics[f"/da3/{name}/depth/stddev"] = "sensor_msgs/msg/Image"
        topics[f"/da3/{name}/confidence/image"] = "sensor_msgs/msg/Image"
        topics[f"/da3/{name}/points"] = "sensor_msgs/msg/PointCloud2"
        topics[f"/da3/{name}/pose"] = "geometry_msgs/msg/PoseWithCovarianceStamped"
    return topics


def run_scenario(scenario: Scenario, model: str, folder: Path) -> Recording:
    """Run a scenario; raises RuntimeError with the process's output when one of the three fails."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    rig = scenario.load()
    names = list(rig.cameras)
    environment = {
        **os.environ,
        # Its own domain, and nothing leaves this host. Big images need the profile's large shared memory: with its
        # defaults Fast DDS loses most of them without a word.
        "ROS_DOMAIN_ID": str(1 + os.getpid() % 100),
        "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
        "FASTDDS_DEFAULT_PROFILES_FILE": str(ROOT / "config" / "fastdds_localhost.xml"),
        "PYTHONUNBUFFERED": "1",
    }
    parameters = {
        "model": model,
        "cameras": f"[{', '.join(names)}]",
        "cloud.rate": "0.0",
        **scenario.parameters,
    }
    arguments = [part for key, value in parameters.items() for part in ("-p", f"{key}:={value}")]
    bag = folder / "recording"
    topics = [f"{topic}:{kind}" for topic, kind in recorded_topics(names).items()]
    commands = {
        "recorder": [sys.executable, str(HERE / "recorder.py"), str(bag), *topics],
        "node": [sys.executable, "-m", "da3_ros.node", "--ros-args", *arguments],
        "cameras": [sys.executable, str(HERE / "cameras.py"), scenario.name],
    }
    logs = {name: (folder / f"{name}.log").open("w") for name in commands}
    processes: dict[str, subprocess.Popen] = {}
    start = 0
    try:
        for name, command in commands.items():
            out = subprocess.PIPE if name == "cameras" else logs[name]
            processes[name] = subprocess.Popen(
                command,
                env=environment,
                cwd=ROOT,
                stdout=out,
                stderr=logs[name],
                stdin=subprocess.DEVNULL,
                text=True,
            )
        cameras = processes["cameras"]
        assert cameras.stdout is not None
        with tqdm(total=len(rig.frames), desc=scenario.title, unit="set") as bar:
            for line in cameras.stdout:
                word, _, value = line.partition(" ")
                if word == "start":
                    start = int(value)
                elif word == "sent":
                    bar.update()
        if cameras.wait() != 0:
            raise RuntimeError(f"the cameras failed; see {folder}/cameras.log and {folder}/node.log")
        time.sleep(2.0)
        _check(processes, "node", folder)
    finally:
        for name in ("node", "recorder", "cameras"):
            _stop(processes.get(name))
        for log in logs.values():
            log.close()
    if processes["recorder"].returncode != 0:
        raise RuntimeError(f"the recorder failed; see {folder}/recorder.log")
    return Recording(bag, start, round(1e9 / scenario.hertz), len(rig.frames))


def _check(processes: dict[str, subprocess.Popen], name: str, folder: Path) -> None:
    if processes[name].poll() is not None:
        text = (folder / f"{name}.log").read_text()[-2000:]
        raise RuntimeError(f"the {name} ended with {processes[name].returncode}:\n{text}")


def _stop(process: subprocess.Popen | None) -> None:
    if process is None or process.poll() is not None:
        return
    process.send_signal(signal.SIGINT)
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
