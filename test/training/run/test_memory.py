# SPDX-License-Identifier: Apache-2.0
"""Memory that a training keeps."""

from needs import needs

needs("lightning_fabric", "torch")

import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml

from da3_training.cli import train as command
from da3_training.run import memory, trainer

TRAINING = Path(__file__).resolve().parents[3] / "training"
FAULTS = """
import resource, sys, torch
from da3_training.run.memory import keep_freed_memory
kept = sys.argv[1] == "kept" and keep_freed_memory()
torch.set_num_threads(1)
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(4):
        leaf = torch.ones(1 << 24, requires_grad=True)
        (leaf * 2).relu().sum().backward()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
faults()
faults()
print(int(kept), faults())
"""


def test_memory_that_is_kept_is_not_faulted_in_again():
    def run(how):
        command = [sys.executable, "-c", FAULTS, how]
        done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=TRAINING)
        return [int(word) for word in done.stdout.split()]

    plain, (kept, faults) = run("plain")[1], run("kept")
    if not kept:
        pytest.skip("the C library is not glibc")
    assert faults < plain / 4


@pytest.mark.parametrize(("accelerator", "gpu", "calls"), [("cpu", True, 1), ("auto", False, 1), ("auto", True, 0)])
def test_the_command_keeps_it_where_a_cpu_trains(accelerator, gpu, calls, tmp_path, monkeypatch):
    found = []
    monkeypatch.setattr(memory, "keep_freed_memory", lambda: found.append(True))
    monkeypatch.setattr(trainer, "train", lambda config, began: tmp_path)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump({"runtime": {"accelerator": accelerator}}))
    command.main([str(path)])
    assert len(found) == calls
