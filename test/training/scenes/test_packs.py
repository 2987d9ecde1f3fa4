# SPDX-License-Identifier: Apache-2.0
"""Assets read from packs: the same scenes and pictures as from packages; and packs that are refused."""

from needs import needs

needs("moderngl")

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from made_assets import IMAGES

os.environ.setdefault("LP_NUM_THREADS", "1")
from da3_training import cli
from da3_training.scenes.furniture import split_of
from da3_training.scenes.packs import PackError, Packs
from da3_training.scenes.room import make_scene
from da3_training.scenes.sources import open_assets

ROOT = Path(__file__).resolve().parents[3]


def test_models_and_splits_are_those_of_the_packages(cache, packed, opened, tmp_path):
    library, bank = open_assets("train", cache)
    ours, packs_bank = open_assets("train", tmp_path, packs=packed)
    assert ours.models == library.models
    assert packs_bank.by_tag == bank.by_tag
    assert {m.split for m in opened.models} == {"train", "heldout"}
    assert all(m.split == split_of(m.key) for m in opened.models)
    assert [m.key for m in ours.of("heldout")] == [m.key for m in library.models if split_of(m.key) == "heldout"]
    assert {t.name for t in opened.textures} == set(IMAGES.values())


@pytest.mark.parametrize("kind", ["room", "tabletop", "open"])
def test_the_same_seed_draws_the_same_scene(cache, packed, tmp_path, kind):
    for seed in range(4):
        ours, theirs = (
            make_scene(*found, np.random.default_rng(seed), kind)
            for found in (open_assets("train", tmp_path, packs=packed), open_assets("train", cache))
        )
        assert ours.names == theirs.names
        assert any(name.startswith("Scopia/") for name in ours.names)
        assert ours.mesh.textures == theirs.mesh.textures
        for part in ("opaque", "cutout", "sky"):
            assert len(getattr(ours.mesh, part)) == len(getattr(theirs.mesh, part))
        np.testing.assert_allclose(ours.solids, theirs.solids, atol=1e-4)


def test_a_room_looks_the_same_from_packs(cache, packed, tmp_path):
    from da3_training.data.records import load_room
    from da3_training.scenes.generate import Studio

    for name, found in (
        ("packs", open_assets("train", tmp_path / "made", packs=packed)),
        ("packages", open_assets("train", cache)),
    ):
        try:
            studio = Studio(*found, "train")
        except Exception as error:  # moderngl raises a bare Exception without EGL
            pytest.skip(f"no EGL renderer ({error}): apt-get install libegl1 libegl-mesa0 libgl1-mesa-dri")
        studio.room(tmp_path / name, seed=3, index=0, clusters=1, views=2, kind="room")
    views = [load_room(tmp_path / name)[0].views for name in ("packs", "packages")]
    for ours, theirs in zip(*views, strict=True):
        np.testing.assert_array_equal(ours.pose, theirs.pose)
        assert np.abs(ours.image().astype(float) - theirs.image()).mean() < 2
        far, near = np.maximum(ours.depth(), theirs.depth()), np.minimum(ours.depth(), theirs.depth())
        assert (far > near * 1.001 + 0.001).mean() < 0.001


def test_procedural_textures_are_made_once_by_whoever_asks_first(packed, cache, tmp_path):
    name = "procedural__wall__002.npy"
    one, other = (open_assets("train", tmp_path, packs=packed)[1] for _ in range(2))
    assert not list(tmp_path.rglob("*.npy"))
    image = one.pixels(name)
    np.testing.assert_array_equal(image, np.load(cache / "textures" / name))
    [file] = tmp_path.rglob("*.npy")
    np.save(file, image // 2)  # the other one reads what it finds
    np.testing.assert_array_equal(other.pixels(name), image // 2)
    with pytest.raises(FileNotFoundError, match="neither a procedural texture nor in the packs"):
        one.pixels("procedural__sea__002.npy")


def test_as_many_meshes_and_images_are_kept_as_asked(packed, tmp_path):
    library, bank = open_assets("train", tmp_path, packs=packed, kept_meshes=1, kept_images=2)
    first, second, third = (m.materials[1].texture for m in library.models[:3])
    kept = bank.pixels(first)
    assert bank.pixels(second) is bank.pixels(second)
    assert bank.pixels(first) is kept
    bank.pixels(third), bank.pixels(second)
    assert bank.pixels(first) is not kept
    one, two = (m.key for m in library.models[:2])
    mesh = library.geometry(one)
    assert library.geometry(one) is mesh
    library.geometry(two)
    assert library.geometry(one) is not mesh


def test_reading_takes_numpy_and_opencv_alone():
    """Neither the renderer nor what training needs is imported by it."""
    code = "import sys; import da3_training.scenes.sources; print(*{n.split('.')[0] for n in sys.modules})"
    path = os.pathsep.join((str(ROOT / "training"), str(ROOT)))
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=True
    )
    found = set(done.stdout.split())
    assert {"numpy", "cv2"} <= found
    assert not found & {"torch", "scipy", "moderngl", "rosbags", "h5py", "yaml", "tqdm", "trimesh", "safetensors"}


class TestPacksThatAreRefused:
    def test_truncated(self, packed, tmp_path):
        data = (packed / "scenes_00.pack").read_bytes()
        for kept in (0, 10, len(data) // 2, len(data) - 1):
            (tmp_path / "cut.pack").write_bytes(data[:kept])
            with pytest.raises(PackError, match=r"cut\.pack is no whole pack"):
                Packs(tmp_path, tmp_path)

    def test_of_another_version(self, packed, tmp_path):
        data = (packed / "scenes_00.pack").read_bytes()
        with zipfile.ZipFile(packed / "scenes_00.pack") as old, zipfile.ZipFile(tmp_path / "n.pack", "w") as new:
            for info in old.infolist():
                content = old.read(info)
                new.writestr(info, content.replace(b'"version": 1', b'"version": 2'))
        assert data != (tmp_path / "n.pack").read_bytes()
        with pytest.raises(PackError, match="version 2; read here is 'da3_training scenes', version 1"):
            Packs(tmp_path / "n.pack", tmp_path)

    def test_another_zip_file(self, tmp_path):
        with zipfile.ZipFile(tmp_path / "x.pack", "w") as z:
            z.writestr("readme.txt", "nothing")
        with pytest.raises(PackError, match=r"without index\.json"):
            Packs(tmp_path / "x.pack", tmp_path)

    def test_damaged(self, packed, tmp_path):
        """One bit, in a mesh, an image or the index: at the check, and when it is read."""
        with zipfile.ZipFile(packed / "scenes_00.pack") as z:
            infos = {info.filename: info for info in z.infolist()}
        image = next(name for name in infos if name.endswith(".jpg"))
        for member in ("models/Scopia__f7__made7.mesh", image, "index.json"):
            data = bytearray((packed / "scenes_00.pack").read_bytes())
            info = infos[member]
            data[info.header_offset + 30 + len(member) + info.compress_size // 2] ^= 4
            (tmp_path / "bad.pack").write_bytes(data)
            with pytest.raises(PackError, match=f"{member} is damaged .*copy or write the pack again"):
                Packs(tmp_path, tmp_path, check=True)
            if member.startswith("models"):
                opened = Packs(tmp_path, tmp_path)
                opened.geometry("Scopia/f8/made8")
                with pytest.raises(PackError, match=r"made7\.mesh is damaged"):
                    opened.geometry("Scopia/f7/made7")

    def test_missing_of_a_set(self, parts, tmp_path):
        files = sorted(parts.iterdir())
        with pytest.raises(PackError, match=r"scenes_01\.pack of 3 packs missing"):
            Packs([files[0], files[2]], tmp_path)
        with pytest.raises(PackError, match="name each once"):
            Packs([*files, files[1]], tmp_path)

    def test_of_two_sets(self, parts, packed, tmp_path):
        other = parts / "scenes_00.pack"
        with pytest.raises(PackError, match="not written together"):
            Packs([packed / "scenes_00.pack", other], tmp_path)

    def test_none(self, tmp_path):
        with pytest.raises(FileNotFoundError, match=r"holds no scenes_00\.pack"):
            Packs(tmp_path, tmp_path)
        with pytest.raises(FileNotFoundError):
            Packs(tmp_path / "absent.pack", tmp_path)

    def test_what_they_lack(self, opened):
        with pytest.raises(FileNotFoundError, match=r"no pack of the set of .* holds the model Scopia/none"):
            opened.geometry("Scopia/none")

    def test_together_with_wheels_or_without_assets(self, packed, tmp_path):
        with pytest.raises(ValueError, match="give packs, or wheels"):
            open_assets("train", tmp_path, wheels=tmp_path, packs=packed)
        with pytest.raises(ValueError, match="give packs, or wheels"):
            open_assets("train", tmp_path, assets=False, packs=packed)


def test_rooms_are_rendered_from_packs_by_the_command(packed, tmp_path):
    options = ["--out", str(tmp_path / "rooms"), "--cache", str(tmp_path / "made"), "--packs", str(packed)]
    try:
        cli.main(["scenes", *options, "--rooms", "1", "--clusters", "1", "--views", "1"])
    except SystemExit as error:
        pytest.skip(f"no EGL renderer ({error}): apt-get install libegl1 libegl-mesa0 libgl1-mesa-dri")
    [scene] = (tmp_path / "rooms").rglob("scene.json")
    assert any(name.startswith("Scopia/") for name in json.loads(scene.read_text())["assets"])
