# SPDX-License-Identifier: Apache-2.0
"""Assets laid into packs: limits, a part of all, tables, attribution, and what the command refuses."""

from needs import needs

needs("rosbags", "tqdm")

import shutil
from collections import Counter

import pytest

from da3_training import cli
from da3_training.scenes import textures
from da3_training.scenes.choosing import Piece, choose
from da3_training.scenes.packing import write_packs
from da3_training.scenes.packs import Packs
from da3_training.scenes.roles import role_of
from da3_training.scenes.sources import open_assets


def test_every_pack_is_within_its_limit_and_all_together_are_everything(cache, parts, tmp_path):
    library, bank = open_assets("train", cache)
    limit = 200_000
    packed = write_packs(library.models, [], bank.store, tmp_path / "again", limit / 1e6)
    assert len(packed.files) > 2
    assert all(path.stat().st_size == size <= limit for path, size in packed.files)
    assert max(size for _, size in packed.files) > 0.7 * limit
    one = write_packs(library.models, [], bank.store, tmp_path / "one", limit / 2e6, 1)
    assert [size <= limit / 2 for _, size in one.files] == [True]
    assert 0 < sum(one.inside.values()) < len(library.models)
    ours, _ = open_assets("train", tmp_path, packs=parts)
    assert ours.models == library.models
    assert all(len(ours.geometry(m.key).triangles) == m.triangles for m in library.models)


def test_a_small_pack_covers_every_role_and_can_be_rendered_from(cache, tmp_path):
    library, bank = open_assets("train", cache)
    whole = write_packs(library.models, [], bank.store, tmp_path / "whole").files[0][1]
    write_packs(library.models, [], bank.store, tmp_path / "half", whole / 2e6, 1)
    part, _ = open_assets("train", tmp_path, packs=tmp_path / "half")
    counts = Counter((m.split, role_of(m)) for m in part.models)
    assert counts.keys() == {(m.split, role_of(m)) for m in library.models}
    assert len(part.models) < len(library.models)
    chosen = {m.key for m in part.models}
    files = {m.texture for model in part.models for m in model.materials if m.texture}
    for file in files:
        part.texture(file)  # whatever a model needs is there
    assert chosen != {m.key for m in library.models[: len(chosen)]}  # not by order of name


def test_a_choice_takes_even_shares_and_the_cheapest_of_each():
    pieces = [Piece(f"{role} {i}", "train", role, (f"{role} {i}",), 0) for role in ("a", "b") for i in range(10)]
    sizes = {p.name: 10 * (10 - int(p.name[2:])) for p in pieces}
    [load] = choose(pieces, sizes, 400, 1)
    assert Counter(p.group for p in load.pieces) == {"a": 6, "b": 5}
    assert {p.name for p in load.pieces if p.group == "b"} == {f"b {i}" for i in range(5, 10)}
    assert load.bytes == sum(sizes[p.name] for p in load.pieces) <= 400


def test_a_choice_pays_for_what_is_shared_once():
    pieces = [Piece(f"{i}", "train", "a", (f"{i}", "shared"), 0) for i in range(3)]
    [load] = choose(pieces, {"0": 10, "1": 10, "2": 10, "shared": 50}, 80, None)
    assert len(load.pieces) == 3
    assert sorted(load.members) == ["0", "1", "2", "shared"]


def test_roles_that_no_scene_places_come_last():
    pieces = [
        Piece(f"{role} {i}", "train", f"model {role}", (role,), 5) for role in ("door", "floor") for i in range(4)
    ]
    [load] = choose(pieces, {"door": 0, "floor": 0}, 25, 1)
    assert Counter(p.group for p in load.pieces) == {"model floor": 4, "model door": 1}


def test_the_same_assets_give_the_same_bytes(cache, packed, tmp_path):
    cli.main(["pack-scenes", str(tmp_path / "again"), "--cache", str(cache)])
    assert (tmp_path / "again" / "scenes_00.pack").read_bytes() == (packed / "scenes_00.pack").read_bytes()


def test_the_table_says_what_is_in_and_what_is_left_out(cache, tmp_path, capsys):
    cli.main(["pack-scenes", str(tmp_path), "--cache", str(cache), "--megabytes", "0.15", "--packs", "1"])
    lines = capsys.readouterr().out.splitlines()
    size = (tmp_path / "scenes_00.pack").stat().st_size
    assert lines[1].split()[:2] == ["scenes_00.pack", f"{size}"]
    counts = [line.split() for line in lines if " model " in line or " texture " in line]
    assert sum(int(c[-2]) for c in counts) == sum(int(n) for n in lines[1].split()[2:])
    assert sum(int(c[-2]) + int(c[-1]) for c in counts) == 30 + 3
    assert any(int(c[-1]) for c in counts)


def test_attribution_names_every_asset(packed, capsys):
    cli.main(["pack-scenes", "--attribution", str(packed)])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 30 + 3
    assert "Sofa\tMaker 7\tCC-BY 3.0\tScopia/f7/made7" in lines
    assert "wall_a\tauthors of robosuite\tMIT\trobosuite/models/assets/textures/wall_a.png" in lines


def test_one_split_alone(cache, tmp_path):
    cli.main(["pack-scenes", str(tmp_path), "--cache", str(cache), "--split", "heldout"])
    packs = Packs(tmp_path, tmp_path)
    assert {m.split for m in packs.models} == {"heldout"}
    assert {t.split for t in packs.textures} <= {"heldout"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["{out}", "--cache", "{cache}"], "holds packs"),
        (["{new}", "--cache", "{cache}", "--megabytes", "0.004"], "no asset fits"),
        (["{new}", "--cache", "{cache}", "--packs", "0"], "must be above 0"),
        ([], "name a folder"),
        (["{new}", "--attribution", "{out}"], "give either"),
        (["--attribution", "{new}"], "cannot be found|No such file|{new}"),
    ],
)
def test_the_command_refuses(cache, packed, tmp_path, options, message):
    names = {"out": packed, "cache": cache, "new": tmp_path / "new"}
    with pytest.raises(SystemExit, match=message.format(**names)):
        cli.main(["pack-scenes", *(option.format(**names) for option in options)])


def test_textures_without_their_packages_are_refused(cache, tmp_path):
    """A pack that lacks them silently would make other rooms."""
    shutil.copytree(cache, tmp_path / "cache")
    index = tmp_path / "cache" / f"textures_v{textures.CACHE_VERSION}.json"
    index.write_text(index.read_text().replace("miniworld/textures/floor_b.png", "robosuite/floor_b.png"))
    with pytest.raises(SystemExit, match=r"no textures of miniworld: name --wheels"):
        cli.main(["pack-scenes", str(tmp_path / "out"), "--cache", str(tmp_path / "cache")])
