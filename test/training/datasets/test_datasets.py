# SPDX-License-Identifier: Apache-2.0
"""Every data set is read as it was published."""

from needs import needs

needs("h5py", "OpenEXR")

import shutil

import numpy as np
import pytest
from published_layouts import FAR, MAKERS, K, poses, tabletop, tartanair

from da3_training.data.records import BrokenSampleError
from da3_training.datasets.registry import DATASETS, SceneSet


@pytest.mark.parametrize("make", MAKERS, ids=lambda f: f.__name__)
def test_published_layout(make, tmp_path):
    make(tmp_path)
    name = make.__name__
    scenes = SceneSet(name, tmp_path)
    assert len(scenes) == 1
    views = scenes[0][0].views
    assert len(views) == 2
    records = [view.load() for view in views]
    for record, pose in zip(records, poses(), strict=True):
        assert record.source == name
        assert record.metric == DATASETS[name].metric
        np.testing.assert_allclose(record.pose, pose, atol=1e-6)
        assert record.valid.mean() > 0.75
        np.testing.assert_allclose(record.depth[record.valid], FAR, rtol=1e-3)
        assert (record.depth[~record.valid] == 0).all()
        if name not in ("hypersim", "tartanair", "seven_scenes"):  # sets whose intrinsics are fixed
            np.testing.assert_allclose(record.intrinsics, K, atol=1e-6)
    if name in ("tartanair", "vkitti2", "mvs_synth"):
        assert records[0].sky[:4].all()
        assert not records[0].sky[4:].any()
    if name == "objaverse":
        assert not records[0].alpha[:10].any()
        assert records[0].alpha[10:].all()


def test_every_set_is_covered():
    assert {make.__name__ for make in MAKERS} | {"rooms", "bags", "tabletop"} == set(DATASETS)


def test_single_images_with_depth(tmp_path):
    tabletop(tmp_path)
    scenes = SceneSet("tabletop", tmp_path)
    assert [scenes.name(i) for i in range(len(scenes))] == ["learn0_depth.png", "learn1_depth.png"]
    assert scenes[1][0].views[0].load().depth[0, 0] == pytest.approx(FAR)


def test_unknown_sets_and_empty_folders_say_what_is_expected(tmp_path):
    with pytest.raises(ValueError, match="hypersim"):
        SceneSet("hyper", tmp_path)
    with pytest.raises(FileNotFoundError, match="pose_left"):
        SceneSet("tartanair", tmp_path)


def test_broken_files_are_named(tmp_path):
    tartanair(tmp_path)
    scenes = SceneSet("tartanair", tmp_path)
    path = tmp_path / "office/Easy/P000/depth_left/000001_left_depth.npy"
    path.write_bytes(b"broken")
    with pytest.raises(BrokenSampleError, match="000001_left_depth"):
        scenes[0][0].views[1].load()
    (tmp_path / "office/Easy/P000/pose_left.txt").write_text("no numbers")
    with pytest.raises(BrokenSampleError, match="P000 is not a scene of tartanair"):
        SceneSet("tartanair", tmp_path)[0]


def test_scenes_are_taken_and_left_out_by_name(rooms, tmp_path):
    for name in ("attic", "cellar_1", "cellar_2"):
        shutil.copytree(rooms / "room_0", tmp_path / "sets" / name)

    def names(**chosen):
        scenes = SceneSet("rooms", tmp_path / "sets", **chosen)
        return [scenes.name(i) for i in range(len(scenes))]

    assert names() == ["attic", "cellar_1", "cellar_2"]
    assert names(only=["cellar_*"]) == ["cellar_1", "cellar_2"]
    assert names(only=["cellar_*", "attic"], leave_out=["cellar_1"]) == ["attic", "cellar_2"]
    with pytest.raises(ValueError, match=r"'roof' names no scene of .*there are attic, cellar_1, cellar_2"):
        names(leave_out=["roof"])
    with pytest.raises(ValueError, match=r"no scene of .* is left"):
        names(only=["attic"], leave_out=["at*"])
