# SPDX-License-Identifier: Apache-2.0
import json

import cv2
import numpy as np
import pytest
import yaml


@pytest.fixture
def rooms(tmp_path):
    """Two rooms of one cluster with three views each: a slanted textured wall seen from three places."""
    rng = np.random.default_rng(0)
    for r in range(2):
        folder = tmp_path / "rooms" / f"room_{r}"
        folder.mkdir(parents=True)
        views = []
        for v in range(3):
            image = cv2.resize(rng.integers(0, 255, (12, 16, 3), dtype=np.uint8), (112, 84))
            depth = np.tile(np.linspace(1000, 3000, 112), (84, 1)).astype(np.uint16)
            cv2.imwrite(str(folder / f"v{v}.jpg"), image)
            cv2.imwrite(str(folder / f"v{v}.png"), depth)
            pose = np.eye(4)
            pose[0, 3] = 0.3 * v
            k = [[90.0, 0, 55.5], [0, 90.0, 41.5], [0, 0, 1]]
            views.append({"image": f"v{v}.jpg", "depth": f"v{v}.png", "K": k, "T_world_camera": pose.tolist()})
        scene = {"version": 1, "width": 112, "height": 84, "clusters": [{"kind": "walk", "views": views}]}
        (folder / "scene.json").write_text(json.dumps(scene))
    return tmp_path / "rooms"


@pytest.fixture
def config(rooms, tmp_path, micro):
    """A run of six steps of two scenes of two views with the micro network."""
    from da3_training.config import DataConfig, OptimiserConfig, RuntimeConfig, Stage, TrainConfig
    from da3_training.data.samples import SampleConfig

    samples = SampleConfig(views_per_batch=4, view_counts=(2,), sizes=((28, 42),))
    return TrainConfig(
        preset=micro,
        data=(DataConfig("rooms", str(rooms)),),
        output=str(tmp_path / "run"),
        encoder="none",
        frozen_blocks=1,
        steps=6,
        stages=(Stage(1.0, samples),),
        optimiser=OptimiserConfig(warmup=2),
        runtime=RuntimeConfig(threads=1, workers=0, picture_steps=4, accelerator="cpu"),
    )


@pytest.fixture(scope="session")
def scene_cache(tmp_path_factory):
    """A folder of textures that whoever renders fills once."""
    return tmp_path_factory.mktemp("scene_cache")


@pytest.fixture(scope="session")
def studio_cache(tmp_path_factory):
    """A folder with a few textures of our own: those of a whole bank take ten seconds."""
    from da3_training.scenes import textures

    folder = tmp_path_factory.mktemp("studio_cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(textures, "PROCEDURAL", dict.fromkeys(("wall", "floor", "surface", "picture"), 6))
        textures.TextureBank.load(folder, "train", packages=False)
    return folder


@pytest.fixture
def egl():
    """Skips where nothing renders."""
    moderngl = pytest.importorskip("moderngl")
    try:
        moderngl.create_standalone_context(backend="egl").release()
    except Exception as error:  # moderngl raises a bare Exception without EGL
        pytest.skip(f"no EGL renderer ({error}): apt-get install libegl1 libegl-mesa0 libgl1-mesa-dri")


@pytest.fixture
def run_file(rooms, tmp_path):
    """Writes a configuration and returns its path."""

    def write(name, views_per_batch, steps, checkpoint_minutes=5.0, hours=0.0, **runtime):
        samples = {"views_per_batch": views_per_batch, "view_counts": [1, 2], "sizes": [[28, 42]]}
        values = {
            "preset": "micro",
            "data": [{"dataset": "rooms", "root": str(rooms)}],
            "output": str(tmp_path / name),
            "encoder": "none",
            "frozen_blocks": 1,
            "steps": steps,
            "hours": hours,
            "stages": [{"samples": samples}],
            "optimiser": {"warmup": 2},
            "matching": {"weight": 0.2, "block": 3, "heads": 2, "flow": 1.0},
            "runtime": {
                "threads": 1,
                "workers": 0,
                "picture_steps": 0,
                "accelerator": "cpu",
                "checkpoint_minutes": checkpoint_minutes,
                **runtime,
            },
        }
        path = tmp_path / f"{name}.yaml"
        path.write_text(yaml.safe_dump(values))
        return path

    return write
