# SPDX-License-Identifier: Apache-2.0
import dataclasses
import hashlib
import subprocess
import sys

import pytest

from da3_ros.engines.files import PRECISIONS, graph_name
from da3_ros.engines.graph_file import GraphFile
from da3_ros.engines.guard import Gpu
from da3_ros.engines.plan import (
    Flags,
    PlanError,
    PlanHeader,
    Shape,
    build_lock,
    mismatch,
    plan_key,
    plans_folder,
    read_header,
    read_payload,
    write_plan,
)

ORIN = Gpu("Orin", 8, 7, 8, 8 << 30, 12060)
PAYLOAD = b"engine" * 1000


@pytest.fixture
def graph(folder):
    return GraphFile.read(folder / graph_name("unposed", "fp16"))


def header_of(graph, version="10.3.0", gpu=ORIN, flags=None, passed=True):
    key = plan_key(graph, "unposed", "fp16", version, gpu, (Shape(1, 280, 504), Shape(2, 280, 504)), flags or Flags())
    return PlanHeader(key, len(PAYLOAD), hashlib.sha256(PAYLOAD).hexdigest(), 14, {}, {"passed": passed})


@pytest.fixture
def path(graph, tmp_path):
    header = header_of(graph)
    path = tmp_path / "somewhere" / header.key.file_name()
    write_plan(path, header, PAYLOAD)
    return path


def test_graph_names():
    assert [graph_name("posed", p) for p in PRECISIONS] == ["posed.onnx", "posed.bf16.onnx", "posed.fp16.onnx"]
    with pytest.raises(ValueError, match="int8"):
        graph_name("posed", "int8")
    with pytest.raises(ValueError, match="unposed, posed"):
        graph_name("poised")


def test_a_plan_comes_back_as_it_was_written(graph, path):
    header = read_header(path)
    assert header == header_of(graph)
    assert read_payload(path, header) == PAYLOAD
    assert [p.name for p in path.parent.iterdir()] == [path.name]  # no temporary file is left


def test_a_failed_write_leaves_nothing(graph, tmp_path):
    with pytest.raises(TypeError):
        write_plan(tmp_path / "new" / "x.plan", header_of(graph), "not bytes")
    assert list((tmp_path / "new").iterdir()) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda b: b[:-1], "truncated"),
        (lambda b: b + b"x", "truncated"),
        (lambda b: b[:12], "damaged or foreign header"),
        (lambda b: b"ptrt" + b, "not a plan of this package"),
        (lambda b: b"", "not a plan of this package"),
        (lambda b: b.replace(b'"kind"', b'"mind"'), "damaged or foreign header"),
        (lambda b: b.replace(b'"fp16"', b'"fp17"'), "damaged or foreign header"),
    ],
)
def test_files_that_are_not_whole_are_refused(path, change, words):
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(PlanError, match=words):
        read_header(path)


def test_a_changed_payload_is_refused(path):
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    with pytest.raises(PlanError, match="checksum differs"):
        read_payload(path, read_header(path))


def test_a_plan_fits_where_it_was_built(graph):
    assert mismatch(header_of(graph), graph, "10.3.0", ORIN) == ""


@pytest.mark.parametrize(
    ("version", "gpu", "words"),
    [
        ("10.3.0.26", ORIN, "built by TensorRT 10.3.0, here is 10.3.0.26"),
        ("10.3.0", dataclasses.replace(ORIN, multiprocessors=16), "16 multiprocessors"),
        ("10.3.0", dataclasses.replace(ORIN, name="RTX 4090", minor=9), "here is RTX 4090"),
    ],
)
def test_foreign_plans_are_refused_in_words(graph, version, gpu, words):
    assert words in mismatch(header_of(graph), graph, version, gpu)


def test_another_graph_or_other_weights_are_noticed(graph, folder):
    header = header_of(graph)
    assert "another unposed.fp16.onnx" in mismatch(
        header, GraphFile.read(folder / "unposed.bf16.onnx"), "10.3.0", ORIN
    ).replace("bf16", "fp16")
    with open(folder / "model.safetensors", "ab") as stream:
        stream.write(b"more")
    assert "model.safetensors changed" in mismatch(header, GraphFile.read(graph.path), "10.3.0", ORIN)


def test_a_plan_without_the_gate_is_refused(graph):
    assert "accuracy gate" in mismatch(header_of(graph, passed=False), graph, "10.3.0", ORIN)


def test_compatible_plans_go_farther(graph):
    later = header_of(graph, flags=Flags(version_compatible=True))
    assert mismatch(later, graph, "10.13.3", ORIN) == ""
    assert "TensorRT" in mismatch(later, graph, "11.0.0", ORIN)
    ampere = header_of(graph, flags=Flags(hardware_compatible=True))
    assert mismatch(ampere, graph, "10.3.0", Gpu("Other", 8, 9, 100, 1, 12060)) == ""
    assert "here is Old" in mismatch(ampere, graph, "10.3.0", Gpu("Old", 7, 5, 100, 1, 12060))


def test_every_part_of_the_key_decides_the_name(graph):
    key = header_of(graph).key
    changed = [
        dataclasses.replace(key, **{field.name: value})
        for field, value in zip(
            dataclasses.fields(key),
            ["m", "posed", "fp32", "0", "0", "11", "gpu", "9.0", 1, (Shape(1, 14, 14),), Flags(tf32=True)],
            strict=True,
        )
    ]
    assert len({k.file_name() for k in [key, *changed]}) == 1 + len(changed)


def test_plans_lie_where_they_are_told(monkeypatch, tmp_path):
    monkeypatch.setenv("DA3_PLANS", str(tmp_path))
    assert plans_folder("m") == tmp_path / "m"
    monkeypatch.delenv("DA3_PLANS")
    assert plans_folder("m").parts[-3:] == ("da3_ros", "plans", "m")


def test_only_one_build_at_a_time(tmp_path):
    code = (
        "import sys, pathlib; from da3_ros.engines.plan import build_lock\n"
        f"with build_lock(pathlib.Path({str(tmp_path)!r})): print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as p:
        assert p.stdout.readline() == "held\n"
        with pytest.raises(PlanError, match=f"process {p.pid}"), build_lock(tmp_path):
            pass
        p.kill()  # the kernel lets go, however the owner ends
    with build_lock(tmp_path):
        pass
