# SPDX-License-Identifier: Apache-2.0
"""The command `da3-train`."""

import importlib

import pytest
from needs import needs

from da3_training.cli.main import VERBS, main


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_a_help(verb, capsys):
    needs("lightning_fabric", "moderngl", "onnx", "rosbags", "safetensors", "torch", "tqdm", "webdataset")
    with pytest.raises(SystemExit) as caught:
        main([verb, "--help"])
    assert caught.value.code == 0
    assert "usage:" in capsys.readouterr().out
    assert callable(importlib.import_module(f"da3_training.cli.{verb.replace('-', '_')}").main)


def test_the_list_and_an_unknown_verb(capsys):
    main([])
    printed = capsys.readouterr().out
    assert all(verb in printed for verb in VERBS)
    with pytest.raises(SystemExit, match="unknown verb 'tran'; allowed: from-bag, train"):
        main(["tran"])
