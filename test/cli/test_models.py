# SPDX-License-Identifier: Apache-2.0
from needs import needs

needs("safetensors")

import numpy as np
import pytest
from safetensors.numpy import save_file

from da3_ros.cli import models
from da3_ros.cli.main import main
from da3_ros.hub import HubError
from da3_ros.models import ENVIRONMENT, ModelError, find_checkpoint, find_model


@pytest.fixture
def home(tmp_path, monkeypatch):
    """An empty home of its own, so that no model of this user counts."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv(ENVIRONMENT, raising=False)
    return tmp_path


@pytest.fixture
def hub(home, monkeypatch):
    """A hub that hands out a small checkpoint; what was asked of it."""
    folder, asked = home / "hub", []
    folder.mkdir()
    save_file({"weight": np.ones(3, np.float32)}, folder / "model.safetensors")
    (folder / "config.json").write_text("{}")

    def fetch(repository, revision=None):
        asked.append((repository, revision))
        return folder

    monkeypatch.setattr(models, "fetch_snapshot", fetch)
    return folder, asked


def test_list_names_licence_and_place(home, capsys):
    assert main(["models", "list"]) == 0
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert "Apache-2.0" in lines["da3-nano"]
    assert "not on this machine" in lines["da3-small"]
    assert "CC BY-NC 4.0" in lines["da3nested-giant-large"]
    assert "metric" in lines["da3metric-large"]


def test_show(home, capsys):
    assert main(["models", "show", "da3metric-large"]) == 0
    assert "depth-anything/DA3METRIC-LARGE" in capsys.readouterr().out


def test_pull_says_the_licence_first_and_puts_the_files_in_place(home, hub, capsys):
    assert main(["models", "pull", "da3-large", "--revision", "main"]) == 0
    text = capsys.readouterr().out
    assert text.index("CC BY-NC 4.0") < text.index("does not allow commercial use") < text.index("da3 export da3-large")
    assert hub[1] == [("depth-anything/DA3-LARGE-1.1", "main")]
    folder = home / ".cache" / "da3_ros" / "models" / "da3-large"
    assert find_checkpoint("da3-large") == folder
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "model.safetensors"]
    assert main(["models", "pull", "da3-large"]) == 0  # once more is no harm
    assert main(["models", "list"]) == 0
    assert "no graphs yet" in capsys.readouterr().out


def test_pull_refuses_a_file_that_is_not_whole(home, hub, capsys):
    path = hub[0] / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-4])
    assert main(["models", "pull", "da3-small"]) == 1
    assert "not a whole safetensors file" in capsys.readouterr().err


def test_pull_without_a_network(home, monkeypatch, capsys):
    def fetch(repository, revision=None):
        raise HubError(f"{repository} could not be fetched")

    monkeypatch.setattr(models, "fetch_snapshot", fetch)
    assert main(["models", "pull", "da3-small"]) == 1
    assert "depth-anything/DA3-SMALL could not be fetched" in capsys.readouterr().err


def test_what_ships_is_not_fetched(home, capsys):
    assert main(["models", "pull", "da3-nano"]) == 1
    assert "ships with the package" in capsys.readouterr().err


def test_a_model_that_is_not_here_says_how_to_get_it(home):
    with pytest.raises(ModelError, match=r"da3 models pull da3-small.*da3 export da3-small"):
        find_model("da3-small")
    with pytest.raises(ModelError, match=r"neither a folder with model\.safetensors nor a known model"):
        find_checkpoint("da4")


def test_export_of_a_model_that_is_not_here(home, capsys):
    assert main(["export", "da3-small"]) == 1
    assert "da3 models pull da3-small" in capsys.readouterr().err
