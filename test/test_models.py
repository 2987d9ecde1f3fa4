# SPDX-License-Identifier: Apache-2.0
import json

import pytest

from da3_ros.models import ModelError, find_model, load_zoo

CANONICAL_FOCAL = 300.0
"""Of the metric network's unit, in pixels."""


def test_every_preset_has_a_record():
    pytest.importorskip("torch")
    from da3_ros.network import PRESETS

    zoo = load_zoo()
    assert set(zoo) == set(PRESETS)
    assert all(record.preset == name for name, record in zoo.items())
    assert all(record.hub_id for name, record in zoo.items() if name != "da3-nano")


def test_the_rule_is_that_of_the_network():
    pytest.importorskip("torch")
    from da3_ros.network import single_view

    assert single_view.CANONICAL_FOCAL == CANONICAL_FOCAL


def test_metric_models_and_their_rule():
    zoo = load_zoo()
    assert {name for name, record in zoo.items() if record.metric} == {"da3metric-large", "da3nested-giant-large"}
    assert {name: r.focal_rule for name, r in zoo.items() if r.focal_rule} == {"da3metric-large": CANONICAL_FOCAL}


def test_what_may_be_sold():
    """Licences by the authors' list: the large any-view networks are not for commercial use."""
    restricted = {name for name, record in load_zoo().items() if record.licence == "CC BY-NC 4.0"}
    assert restricted == {"da3-large", "da3-giant", "da3nested-giant-large"}


def test_a_folder_of_any_name_is_what_its_configuration_says(tmp_path):
    """A fine-tuned model need not be called like the network that it began as."""
    folder = tmp_path / "my_forklift"
    folder.mkdir()
    assert find_model(folder)[0].recommended_size == 504
    (folder / "config.json").write_text(json.dumps({"model_name": "da3metric-large"}))
    record, found = find_model(folder)
    assert found == folder
    assert (record.name, record.preset, record.focal_rule) == ("my_forklift", "da3metric-large", CANONICAL_FOCAL)
    assert record.metric
    (folder / "config.json").write_text(json.dumps({"model_name": "da3-nano"}))
    assert find_model(folder)[0].recommended_size == 252
    assert not find_model(folder)[0].trusts_distances
    (folder / "config.json").write_text("[1")
    with pytest.raises(ModelError, match=r"my_forklift/config\.json is not a JSON object"):
        find_model(folder)
