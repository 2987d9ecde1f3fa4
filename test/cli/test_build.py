# SPDX-License-Identifier: Apache-2.0
import argparse
import re
from dataclasses import replace

import pytest

from da3_ros.cli.build import image_size
from da3_ros.cli.main import main
from da3_ros.engines import openvino, tensorrt
from da3_ros.engines.openvino import Processor
from da3_ros.engines.plan import SWEEP


@pytest.fixture
def no_gpu(monkeypatch):
    monkeypatch.setattr(tensorrt, "DRIVER", "libno_such_driver.so.1")


@pytest.fixture
def processor(no_gpu, tmp_path, monkeypatch):
    """Function: this processor, with bfloat16 arithmetic or without, is what is found."""
    pytest.importorskip("openvino", reason="not installed: `make env EXTRAS=openvino`")
    monkeypatch.setenv("DA3_PLANS", str(tmp_path / "plans"))
    real = Processor.inspect()
    return lambda bf16: monkeypatch.setattr(Processor, "inspect", lambda: replace(real, bf16=bf16))


def test_without_a_gpu_one_message_and_code_3(no_gpu, monkeypatch, capsys):
    monkeypatch.setattr(openvino, "MODULE", "no_such_openvino")
    assert main(["build", "da3-nano"]) == 3
    out, err = capsys.readouterr()
    assert out == ""
    assert "no NVIDIA driver" in err
    assert "runs on ONNX Runtime" in err
    assert "pip install openvino" in err
    assert err.count("\n") == 1


def test_without_a_gpu_bfloat16_is_compared_where_the_processor_has_it(processor, folder, capsys):
    processor(True)
    arguments = ["build", str(folder), "--views", "2", "--size", "28x42"]
    assert main(arguments) == 0
    out, err = capsys.readouterr()
    assert "no TensorRT plans (no NVIDIA driver" in out
    assert "bf16 posed against onnxruntime" in out
    assert "tiny runs on OpenVINO in bfloat16" in out
    assert err == ""
    assert main([*arguments, "--precision", "fp16"]) == 3
    assert "would run it in bf16, not in fp16" in capsys.readouterr().err
    processor(False)
    assert main(arguments) == 3
    assert "has no bfloat16 arithmetic" in capsys.readouterr().err


def test_plans_are_built_and_judged(machine, folder, capsys):
    machine()
    arguments = ["build", str(folder), "--views", "2", "1", "--size", "98x126", "--workspace", "0.5"]
    assert main(arguments) == 0
    out = capsys.readouterr().out
    assert "TensorRT 10.3.0 on Pretend GPU" in out
    assert "1 view of 98x126, 2 views of 98x126" in out
    assert "sweep: building sweep.onnx for 2 views of 98x126" in out
    assert [line.split("/")[-2:][0] for line in out.splitlines() if line.startswith("ready: ")] == 2 * ["tiny"] + [
        SWEEP
    ]
    assert main([*arguments, "--precision", "bf16"]) == 0
    out = capsys.readouterr().out
    assert "building unposed.bf16.onnx" in out
    assert "sweep: the plan is there and fits" in out


def test_a_refused_plan_ends_with_code_1(machine, folder, capsys):
    machine(drift={"fp16": 0.2})
    assert main(["build", str(folder), "--views", "1", "--size", "28x42", "--precision", "fp16"]) == 1
    out = capsys.readouterr().out
    assert "REFUSED" in out
    assert "sweep" not in out, "nothing would run it"


def test_a_refused_sweep_is_said_and_the_plans_are_ready_all_the_same(machine, folder, capsys):
    machine(drift={"sweep": 0.2})
    assert main(["build", str(folder), "--views", "2", "--size", "98x126", "--precision", "fp16"]) == 0
    out = capsys.readouterr().out
    assert "sweep is refused, the CPU does it: 2 views of 98x126: " in out
    assert out.count("ready: ") == 2


def test_bad_arguments_are_refused(machine, folder, capsys):
    machine()
    assert main(["build", str(folder), "--views", "0"]) == 1
    assert "--views must be 1 or more" in capsys.readouterr().err
    assert image_size("280x504") == (280, 504)
    with pytest.raises(argparse.ArgumentTypeError, match="for example 280x504"):
        image_size("281x500")
    with pytest.raises(argparse.ArgumentTypeError, match="is not HxW"):
        image_size("280")


def test_the_doctor_says_which_engine_runs_and_why(no_gpu, capsys):
    assert main(["doctor"]) == 0
    out = capsys.readouterr().out
    assert "GPU: none usable" in out
    assert "not          tensorrt: no NVIDIA driver" in out
    assert "would run on onnxruntime" in out
    line = next(line for line in out.splitlines() if line.startswith("Plane sweep: "))
    assert re.fullmatch(
        r"Plane sweep: the CPU code, [\d.]+ ms a view; the graph on onnxruntime CPU takes [\d.]+ ms", line
    )
