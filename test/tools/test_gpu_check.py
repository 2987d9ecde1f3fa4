# SPDX-License-Identifier: Apache-2.0
"""The command that proves things on a GPU, from its first to its last line, on a machine without one."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from needs import needs

ROOT = Path(__file__).resolve().parents[2]

import gpu_check
from gpu_proof.course import PARTS, plan_of
from gpu_proof.options import Options

from da3_ros.engines.guard import GpuReport

BLOCKER = """
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name in {names!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}} (taken away by a test)", name=name)
sys.meta_path.insert(0, Blocker())
"""
BARE = ("safetensors", "onnx", "onnxruntime", "onnxscript", "openvino", "cv2", "huggingface_hub", "yaml", "tqdm",
        "array_api_compat", "rosbags", "rclpy", "tensorrt", "tensorrt_rtx", "lightning", "matplotlib")  # fmt: skip
"""A machine with PyTorch, NumPy and SciPy."""


def check(*arguments, without=(), folder=None):
    """Run the command from elsewhere, as on a machine that lacks packages."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("FAKE_CUDA")}
    env.pop("DA3_ENGINE", None)
    env["OMP_NUM_THREADS"] = "1"
    if without:
        (folder / "sitecustomize.py").write_text(BLOCKER.format(names=set(without)))
        env["PYTHONPATH"] = str(folder)
    command = [sys.executable, str(ROOT / "tools" / "gpu_check.py"), *map(str, arguments)]
    return subprocess.run(command, cwd="/", env=env, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def rehearsal(driver, tmp_path_factory):
    """Output, content of the file, and page of a whole course but for the compiler, which takes a minute."""
    needs("torch", "safetensors", "onnxruntime")
    out = tmp_path_factory.mktemp("out")
    parts = [part.name for part in PARTS if part.name != "compiled"]
    done = check("--device", "cpu", "--quick", "--driver", driver, "--out", out, "--parts", *parts)
    assert done.returncode == 2, done.stdout + done.stderr
    return done.stdout, json.loads((out / "gpu_check.json").read_text()), (out / "gpu_check.md").read_text()


def test_the_whole_course_runs(rehearsal):
    _, content, _ = rehearsal
    assert [part["part"] for part in content["parts"]] == [
        "machine", "driver", "network", "libraries", "sweep",
    ]  # fmt: skip
    assert {part["state"] for part in content["parts"]} == {"passed"}
    assert not any(part["not_reached"] for part in content["parts"])
    for part, said in zip(PARTS, content["parts"], strict=False):
        options = Options(**{k: v for k, v in content["options"].items() if k != "rehearsal"})
        assert [check["name"] for check in said["checks"]] == plan_of(part, options)


def test_a_rehearsal_is_not_taken_for_a_pass(rehearsal):
    output, content, page = rehearsal
    assert content["verdict"]["code"] == 2
    assert output.rstrip().splitlines()[-1].startswith("the rehearsal went well; it was no GPU, so nothing was proved;")
    assert "not asked for: compiled" in output
    assert "It proves nothing of a GPU." in page


def test_the_page_is_what_is_printed(rehearsal):
    output, content, page = rehearsal
    assert page in output
    for part in content["parts"]:
        for entry in part["checks"]:
            assert entry["name"].split(",")[0] in page
    runs = next(c for p in content["parts"] for c in p["checks"] if c["name"] == "10000 runs")
    assert f"| 10000 runs | passed | {runs['message']} |" in page
    assert page.count("| tiny | ") == sum("ms" in c["values"] for c in content["parts"][2]["checks"])


def test_a_bare_machine_needs_pytorch_and_numpy_alone(driver, tmp_path):
    needs("torch", "scipy")
    parts = ("machine", "driver", "network", "libraries", "sweep")
    done = check(
        "--device", "cpu", "--quick", "--driver", driver, "--out", tmp_path / "out", "--parts", *parts,
        without=BARE, folder=tmp_path,
    )  # fmt: skip
    content = json.loads((tmp_path / "out" / "gpu_check.json").read_text())
    states = {part["part"]: part["state"] for part in content["parts"]}
    passed = dict.fromkeys(("machine", "driver", "network"), "passed")
    assert states == {**passed, "libraries": "missing", "sweep": "missing"}, done.stdout
    assert content["parts"][2]["checks"][0]["values"]["array_api"].startswith("scipy")
    assert "onnxruntime is not installed" in content["parts"][3]["checks"][0]["message"]
    assert "cv2 is not installed" in content["parts"][4]["checks"][0]["message"]
    assert done.returncode == 2


def test_without_anything_the_network_says_what_it_lacks(tmp_path):
    needs("torch")
    for lacking, words, others in (
        ("torch", "PyTorch is not installed", ("machine", "driver")),
        ("scipy", "array-api-compat is not installed", ()),
    ):
        done = check(
            "--device", "cpu", "--quick", "--driver", "no-such", "--parts", *others, "network",
            without=(*BARE, lacking, "sklearn"), folder=tmp_path,
        )  # fmt: skip
        assert done.returncode == 2, done.stdout
        assert words in done.stdout
        assert ("driver: missing" in done.stdout) == ("driver" in others)
        assert "nothing was proved: all that could have been lacks something" in done.stdout


def test_the_plan_imports_nothing_dear(tmp_path):
    done = check("--plan", without=(*BARE, "torch", "scipy"), folder=tmp_path)
    assert done.returncode == 0, done.stderr
    for part in PARTS:
        assert f"{part.name}, about " in done.stdout
        for name in plan_of(part, Options()):
            assert f"  {name}\n" in done.stdout
    assert done.stdout.startswith("In 3 minutes,")


def test_without_a_gpu_it_says_so_and_is_no_pass(monkeypatch, capsys, tmp_path):
    report = GpuReport(None, "no NVIDIA driver: libcuda.so.1 is not found")
    monkeypatch.setattr("da3_ros.engines.guard.find_gpu", lambda driver: report)
    assert gpu_check.main(["--out", str(tmp_path)]) == 2
    output = capsys.readouterr().out
    assert "10000 runs" in output, "what it would do"
    assert output.rstrip().splitlines()[-1].startswith("no GPU: nothing was proved (no NVIDIA driver: ")
    content = json.loads((tmp_path / "gpu_check.json").read_text())
    assert (content["verdict"]["code"], content["parts"]) == (2, [])
    assert "no GPU: nothing was proved" in (tmp_path / "gpu_check.md").read_text()


def test_time_that_is_too_short_is_a_failure_and_is_kept(driver):
    pytest.importorskip("torch", reason="without PyTorch there is no network that time could be too short for")
    begin = time.monotonic()
    done = check("--device", "cpu", "--driver", driver, "--minutes", "0.1", "--parts", "driver", "network")
    assert time.monotonic() - begin < 100
    assert done.returncode == 1
    assert "it ran into its limit of" in done.stdout
    assert "not reached: da3-nano, 1 view of 280x504, float32;" in done.stdout or "network: failed" in done.stdout


def test_a_leak_fails_the_command(driver, monkeypatch, tmp_path):
    monkeypatch.setenv("FAKE_CUDA_LEAK_DEVICE", "4096")
    code = gpu_check.main(["--device", "cpu", "--driver", driver, "--parts", "driver", "--out", str(tmp_path)])
    assert code == 1
    content = json.loads((tmp_path / "gpu_check.json").read_text())
    assert [c["name"] for c in content["parts"][0]["checks"] if c["state"] == "failed"][-1] == "10000 runs"


@pytest.mark.parametrize("minutes", ["0", "-1", "61", "nan"])
def test_odd_minutes_are_refused(minutes, capsys):
    with pytest.raises(SystemExit):
        gpu_check.main(["--minutes", minutes])
    assert "--minutes must be more than 0 and at most 60" in capsys.readouterr().err
