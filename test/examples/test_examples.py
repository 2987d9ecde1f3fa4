# SPDX-License-Identifier: Apache-2.0
"""Every program of `examples` runs as it is, and what it prints is right."""

import os
import re
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from needs import needs

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))


def run(name, *arguments):
    """What an example prints, run from the root of the repository."""
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples" / name), *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def numbers(pattern, text):
    """The groups of `pattern`, where it is first found, as numbers."""
    found = re.search(pattern, text)
    assert found, f"{pattern!r} is not in:\n{text}"
    return [float(group) for group in found.groups()]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_examples_are_short(path):
    lines = path.read_text().splitlines()
    assert len(lines) <= 50
    assert lines[0] == "# SPDX-License-Identifier: Apache-2.0"


def test_the_table_names_every_example():
    rows = re.findall(r"^\| \[`(\S+)`\]\((\S+)\) \| \S", (ROOT / "examples" / "README.md").read_text(), re.MULTILINE)
    assert sorted(name for name, _ in rows) == [path.name for path in EXAMPLES]
    assert all(name == link for name, link in rows)


def test_two_images():
    needs("skimage", "onnxruntime")
    text = run("two_images.py")
    assert "metric: False" in text
    for index in (0, 1):
        near, middle, far = numbers(rf"image {index}: depth 252 x 168, (\S+) \.\. (\S+) \.\. (\S+) units", text)
        assert 0 < near < middle < far
    assert numbers(r"focal length (\d+) px; pose: network", text) == [pytest.approx(994.978 * 252 / 741, rel=0.2)]


def test_two_images_of_ones_own(tmp_path):
    needs("onnxruntime")
    noise = np.random.default_rng(0).integers(0, 255, (2, 90, 120, 3), np.uint8)
    files = [tmp_path / "left.png", tmp_path / "right.png"]
    for file, image in zip(files, noise, strict=True):
        cv2.imwrite(str(file), cv2.resize(image, (480, 360)))
    out = tmp_path / "depth.png"
    assert f"wrote {out}" in run("two_images.py", *files, "--out", out)
    picture = cv2.imread(str(out))
    assert picture.shape == (196, 2 * 252, 3)
    assert picture.std() > 1


def test_rig_is_metric_and_near_the_truth():
    needs("skimage", "onnxruntime")
    text = run("rig.py")
    assert "scale: rig, " in text
    assert "metric: True" in text
    residual, points = numbers(r"residual: (\S+)% of the depth of (\d+) triangulated points", text)
    assert residual < 12
    assert points > 100
    found, true = numbers(r"median depth: (\S+) m, true: (\S+) m", text)
    assert true == pytest.approx(2.76, abs=0.02)
    assert found == pytest.approx(true, rel=0.15)
    median, mean = numbers(r"median error: (\S+)%, mean error: (\S+)%", text)
    assert median < 15
    assert mean < 20


def test_read_bag_of_the_shipped_recording():
    needs("rosbags", "mcap", "backports.zstd")
    text = run("read_bag.py")
    assert text.count("camera 320 x 240, focal length 174.6 px, in cam_") == 4
    assert text.count("image 320 x 240, mean colour [") == 4
    colours = [float(value) for value in re.search(r"colour \[(.*?)\]", text).group(1).split(", ")]
    assert len(colours) == 3
    assert all(60 < value < 200 for value in colours)
    assert text.splitlines()[-1] == "160 messages, 20 stamps; lost: nothing"


def test_read_bag_of_an_output(tmp_path):
    """Depth in metres and without a unit, as `da3 bag` writes them."""
    needs("rosbags", "mcap", "backports.zstd")
    from bags import START, STORE, TYPES
    from rosbags.rosbag2 import StoragePlugin, Writer

    from da3_ros.messages import encode_float

    image = "sensor_msgs/msg/Image"
    depth = np.full((40, 60), 2.5, np.float32)
    depth[:10] = np.nan
    with Writer(tmp_path / "out", version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        for name, frame in (("a", "a_optical"), ("b", "b_optical_relative")):
            topic = writer.add_connection(f"/da3/{name}/depth/image_rect", image, typestore=STORE)
            message = encode_float(TYPES, depth, TYPES.header(START, frame))
            writer.write(topic, START, STORE.serialize_cdr(message, image))
    lines = run("read_bag.py", tmp_path / "out").splitlines()
    assert lines == [
        "/da3/a/depth/image_rect: depth, 75% known, median 2.50 m, in a_optical",
        "/da3/b/depth/image_rect: depth, 75% known, median 2.50 units, in b_optical_relative",
        "2 messages, 1 stamps; lost: nothing",
    ]


def test_scale_source_scales_to_its_reading():
    needs("skimage", "onnxruntime")
    text = run("scale_source.py")
    with_reading, without = text.split("reading 0.00: ")
    assert "scale from range finder, metric: True" in with_reading
    (reading,) = numbers(r"reading (\S+): ", with_reading)
    middle, median = numbers(r"middle (\S+), median (\S+)", with_reading)
    assert middle == pytest.approx(reading, rel=0.02)
    assert median == pytest.approx(*numbers(r"true median: (\S+) m", text), rel=0.3)
    assert without.startswith("scale from none, metric: False")


def test_the_floor_of_the_engine_comes_back():
    text = run("engine.py")
    assert numbers(r"flat-floor on NumPy: (\S+) m a unit by its height", text) == [pytest.approx(1.2, rel=0.01)]
    below, near, far = numbers(r"floor: (\S+) m below, (\S+) to (\S+) m ahead", text)
    assert below == pytest.approx(1.2, rel=0.01)
    # The last row of the image looks 280.5 pixels down; the depth map's last row lies half a pixel of its own higher.
    assert near == pytest.approx(1.2 * 500 / 280.5, rel=0.02)
    assert 20 < far < 50
    assert numbers(r"sky: (\S+)% of the image", text) == [pytest.approx(100 * 200 / 480, abs=4)]
