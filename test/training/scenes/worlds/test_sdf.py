# SPDX-License-Identifier: Apache-2.0
"""Worlds and models as SDF describes them: poses, includes, and what is not there."""

from needs import needs

needs("collada")

import numpy as np
import pytest

from da3_training.scenes.worlds.sdf import SEARCH_PATHS, WorldError, read_world


def world(tmp_path, content):
    path = tmp_path / "worlds" / "a.world"
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"<sdf version='1.6'><world name='w'>{content}</world></sdf>")
    return path


BALL = "<visual name='v'>{pose}<geometry><sphere><radius>0.1</radius></sphere></geometry></visual>"
BOX = """<sdf><world name='w'><model name='m'><link name='l'><visual name='v'><geometry><box><size>{}</size></box>
</geometry></visual></link></model></world></sdf>"""


def place(visual):
    return visual.T_world_visual[:3, 3]


def test_poses_of_model_link_and_visual_follow_each_other(tmp_path):
    turned = "<pose>1 2 3 0 0 1.5707963267948966</pose>"
    degrees = "<pose degrees='true'>1 0 0 0 0 90</pose>"
    ball = BALL.format(pose="<pose>0 0.5 0 0 0 0</pose>")
    found = read_world(
        world(tmp_path, f"<model name='m'>{turned}<link name='l'>{degrees}{ball}</link></model>")
    ).visuals
    # The model's x is the world's y; the link lies one along it, and its own y looks back.
    np.testing.assert_allclose(place(found[0]), [1, 2 + 1 - 0.5, 3], atol=1e-9)


def test_an_include_places_its_model_anew_and_models_inside_of_models_are_found(tmp_path):
    folder = tmp_path / "models" / "ball"
    folder.mkdir(parents=True)
    link = f"<link name='l'>{BALL.format(pose='')}</link>"
    inner = f"<model name='inner'><pose>0 0 1 0 0 0</pose>{link}</model>"
    outer = f"<model name='ball'><pose>9 9 9 0 0 0</pose>{link}{inner}</model>"
    folder.joinpath("model.sdf").write_text(f"<sdf>{outer}</sdf>")
    include = "<include><uri>model://ball</uri><pose>{}</pose></include>"
    around = f"<model name='around'><pose>0 4 0 0 0 0</pose>{include.format('5 0 0 0 0 0')}</model>"
    bare = "<include><uri>model://ball</uri></include>"
    found = read_world(world(tmp_path, include.format("1 0 0 0 0 0") + around + bare))
    places = [tuple(np.round(place(v), 6)) for v in found.visuals]
    assert places == [(5, 4, 0), (5, 4, 1), (1, 0, 0), (1, 0, 1), (9, 9, 9), (9, 9, 10)]
    assert len({v.instance for v in found.visuals}) == 6
    assert not found.notes


def test_models_are_found_where_they_are_said_to_be_and_where_gazebo_looks(tmp_path, models, world_file, monkeypatch):
    for name in SEARCH_PATHS:
        monkeypatch.delenv(name, raising=False)

    def cabinets(*folders):
        return sum(v.mesh is not None for v in read_world(world_file, folders).visuals)

    assert (cabinets(), cabinets(models)) == (0, 3)
    for name in SEARCH_PATHS:
        with monkeypatch.context() as patch:
            patch.setenv(name, f"{tmp_path}:{models}")
            assert cabinets() == 3, name


def test_files_named_from_the_folder_of_the_models_are_found(world_file, models):
    description = models / "cabinet" / "model.sdf"
    description.write_text(description.read_text().replace("model://cabinet", "file://models/cabinet"))
    assert sum(v.mesh is not None for v in read_world(world_file, [models]).visuals) == 3


def test_what_is_not_there_is_said_once(world_file, models):
    assert read_world(world_file, [models]).notes == ["model model://lamp is not there"]
    world_file.write_text(world_file.read_text().replace("model://lamp", "https://fuel.gazebosim.org/lamp"))
    assert "nothing is downloaded" in read_world(world_file, [models]).notes[0]
    (models / "cabinet" / "meshes" / "cabinet.dae").unlink()
    assert len(read_world(world_file, [models]).notes) == 2


def test_a_broken_model_costs_itself_and_a_lamp_nothing(world_file, models):
    for name, text in (("lamp", "<sdf><light name='sun'/></sdf>"), ("ball", "<sdf><model></sdf>"), ("sign", "<sdf/>")):
        (models / name).mkdir()
        (models / name / "model.sdf").write_text(text)
    (models / "box").mkdir()
    (models / "box" / "model.config").write_text("<model><sdf version='1.4'>old.sdf</sdf><sdf>new.sdf</sdf></model>")
    (models / "box" / "new.sdf").write_text(
        f"<sdf><model name='b'><link name='l'>{BALL.format(pose='')}</link></model></sdf>"
    )
    includes = "".join(f"<include><uri>model://{name}</uri></include>" for name in ("ball", "sign", "box"))
    whole = read_world(world_file, [models])
    world_file.write_text(world_file.read_text().replace("<world name='w'>", f"<world name='w'>{includes}"))
    found = read_world(world_file, [models])
    assert not whole.notes
    assert len(found.visuals) == len(whole.visuals) + 1
    assert ["ball" in found.notes[0], "sign" in found.notes[1]] == [True, True]
    assert len(found.notes) == 2


def test_a_pose_in_another_frame_is_said_aloud(tmp_path):
    pose = "<pose relative_to='shelf'>1 0 0 0 0 0</pose>"
    found = read_world(world(tmp_path, f"<model name='cup'>{pose}<link name='l'>{BALL.format(pose='')}</link></model>"))
    assert len(found.notes) == 1
    assert "'cup'" in found.notes[0]


def test_what_is_no_world_is_refused(tmp_path):
    path = tmp_path / "a.sdf"
    for text, said in (
        ("<sdf><model name='m'/></sdf>", "no <world>"),
        ("PK\x03", "cannot be read"),
        ("<sdf><world name='w'><model name='m'><pose>1 2 3</pose></model></world></sdf>", "pose of 'm'.*6 numbers"),
        ("<sdf><world name='w'><model name='m'><pose>1 2 3 nan 0 0</pose></model></world></sdf>", "pose of 'm'"),
        (BOX.format("1 two 3"), "size of a box is '1 two 3': give 3 numbers"),
    ):
        path.write_text(text)
        with pytest.raises(WorldError, match=said):
            read_world(path)
    with pytest.raises(WorldError, match="nowhere"):
        read_world(tmp_path / "nowhere.world")


def test_models_that_include_each_other_end(tmp_path):
    folder = tmp_path / "models" / "snake"
    folder.mkdir(parents=True)
    folder.joinpath("model.sdf").write_text(
        "<sdf><model name='s'><include><uri>model://snake</uri></include></model></sdf>"
    )
    with pytest.raises(WorldError, match="circle"):
        read_world(world(tmp_path, "<include><uri>model://snake</uri></include>"))
