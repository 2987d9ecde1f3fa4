# SPDX-License-Identifier: Apache-2.0
"""What goes to a rented machine, and in how many goes. `make rented` uses all of it."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))

import rented_cargo
from environment.machine import SetupError

IN_GIT = subprocess.run(["git", "rev-parse"], cwd=ROOT, capture_output=True, check=False).returncode == 0


@pytest.mark.skipif(not IN_GIT, reason="not a git checkout: the tree that travels is what git lists")
def test_the_tree_that_travels_is_small_and_has_what_it_needs(tmp_path):
    size = rented_cargo.copy_tree(tmp_path)
    assert size < 10e6
    for name in ("training/rented_gpu/run.sh", "training/rented_gpu/nano.yaml", "tools/gpu_check.py", "da3_ros/hub.py"):
        assert (tmp_path / name).read_bytes() == (ROOT / name).read_bytes()
    assert (tmp_path / "training/rented_gpu/run.sh").stat().st_mode & 0o100
    assert not list(tmp_path.rglob("*.png"))
    assert not (tmp_path / "models").exists()


def test_parts_share_as_few_goes_as_they_fit_into():
    sizes = {"tree": 3, "packs": 45, "start": 39, "photos": 17, "wheels": 2}
    assert rented_cargo.goes(sizes, 64) == [["packs", "wheels"], ["start", "photos"]]
    assert rented_cargo.goes(sizes, 200) == [["packs", "start", "photos", "wheels"]]
    with pytest.raises(SetupError, match=r"packs of 0\.0 MB and the tree do not fit"):
        rented_cargo.goes(sizes, 47)


def test_what_the_wheels_are_called_is_pinned():
    pins = rented_cargo.Requirements.parse((ROOT / "tools" / "requirements.txt").read_text()).common
    names = {line.split("==")[0] for line in pins}
    assert set(rented_cargo.WHEELS) <= names


def test_an_index_that_does_not_have_them_is_said(tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", "")
    monkeypatch.setenv("PIP_FIND_LINKS", "")
    monkeypatch.setenv("PIP_RETRIES", "0")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_CACHE_DIR", "1")
    with pytest.raises(SetupError, match=r"pip cannot fetch .*moderngl==.* for Python 3.12"):
        rented_cargo.fetch_wheels(tmp_path, "3.12")


def test_a_folder_that_is_not_there_or_in_the_way_is_named(tmp_path, capsys):
    assert rented_cargo.main([str(tmp_path / "out"), "--packs", str(tmp_path / "none")]) == 1
    assert "none is no folder" in capsys.readouterr().err
    assert rented_cargo.main([str(tmp_path)]) == 1
    assert "exists: remove it" in capsys.readouterr().err


def run_sh(*arguments, **variables):
    script = [str(ROOT / "training" / "rented_gpu" / "run.sh"), *map(str, arguments)]
    return subprocess.run(
        script, env={"PATH": "/usr/bin:/bin", **variables}, capture_output=True, text=True, check=False
    )


def test_what_comes_in_two_goes_is_stowed_together(tmp_path):
    stow = tmp_path / "stow"
    for name in ("packs", "start"):
        (tmp_path / name / name).mkdir(parents=True)
        (tmp_path / name / name / "file").write_text(name)
        done = run_sh("stow", tmp_path / name, DA3_STOW=str(stow))
        assert done.returncode == 0, done.stderr
    assert (stow / "packs" / "file").read_text() == "packs"
    assert (stow / "start" / "file").read_text() == "start"


def test_a_folder_that_was_not_named_is_asked_for():
    done = run_sh()
    assert done.returncode != 0
    assert "the folder that was brought" in done.stderr
