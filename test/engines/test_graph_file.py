# SPDX-License-Identifier: Apache-2.0
from needs import needs

needs("onnx")

import hashlib
import os
import time
from pathlib import Path

import onnx
import pytest

from da3_ros.engines import EngineError, graph_file
from da3_ros.engines.graph_file import GraphFile, hash_file

ROOT = Path(__file__).resolve().parents[2]


def test_a_graph_is_read_as_onnx_reads_it(folder):
    path = folder / "posed.onnx"
    model = onnx.load(str(path), load_external_data=False)
    found = GraphFile.read(path)
    assert found.metadata == {entry.key: entry.value for entry in model.metadata_props}
    assert found.weights == (folder / "model.safetensors",)
    assert found.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_shipped_graphs_can_be_read():
    folder = ROOT / "models" / "da3-nano"
    found = GraphFile.read(folder / "unposed.onnx")
    assert found.metadata["da3.model"] == "da3-nano"
    assert [file.name for file in found.weights] == ["model.safetensors"]


def test_bad_graphs_are_named(folder):
    path = folder / "unposed.onnx"
    content = path.read_bytes()
    for bad in (content[:-20], b"not a graph", b""):
        path.write_bytes(bad)
        with pytest.raises(EngineError, match=r"unposed\.onnx is not an ONNX graph"):
            GraphFile.read(path)
    path.write_bytes(content)
    (folder / "model.safetensors").unlink()
    with pytest.raises(EngineError, match=r"needs its weights file .*model\.safetensors"):
        GraphFile.read(path)


@pytest.fixture
def reads(monkeypatch):
    """Files that were read to be hashed."""
    found = []
    read = graph_file._digest
    monkeypatch.setattr(graph_file, "_digest", lambda path: found.append(path) or read(path))
    return found


def test_a_file_is_hashed_once_until_it_changes(tmp_path, reads):
    path = tmp_path / "weights"
    hour_ago = time.time() - 3600
    for content in (b"one", b"two"):
        path.write_bytes(content)
        os.utime(path, (hour_ago, hour_ago))
        assert [hash_file(path), hash_file(path)] == [hashlib.sha256(content).hexdigest()] * 2
        hour_ago += 60
    assert len(reads) == 2


def test_a_file_that_may_change_within_its_time_is_hashed_each_time(tmp_path, reads):
    path = tmp_path / "weights"
    for content in (b"one", b"two"):
        path.write_bytes(content)
        now = time.time()
        os.utime(path, (now, now))
        assert hash_file(path) == hashlib.sha256(content).hexdigest()
        assert hash_file(path) == hashlib.sha256(content).hexdigest()
    assert len(reads) == 4
