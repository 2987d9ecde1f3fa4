# SPDX-License-Identifier: Apache-2.0
"""What only whole processes show: torchrun against one process, and a run that is killed."""

from needs import needs

needs("lightning_fabric", "onnx", "safetensors", "torch", "tqdm", "webdataset")

import signal
import sys

import pytest
import torch
from run_files import finish, here, read_log, start, start_command, wait_for_steps
from safetensors.torch import load_file

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]


def losses(path):
    return {step: e["loss"] for step, e in read_log(path.with_suffix("")).items()}


@pytest.mark.slow
def test_two_processes_learn_as_one_with_the_doubled_batch(run_file, micros):
    """20 steps, within 1e-3."""
    one, two = run_file("one", 8, 20), run_file("two", 4, 20)
    process = start(two, processes=2)
    here(one)
    finish(process)
    assert sorted(losses(two)) == list(range(20))
    assert losses(two) == pytest.approx(losses(one), abs=1e-3)


@pytest.mark.slow
def test_a_killed_run_goes_on_as_if_nothing_had_happened(run_file, micros):
    """SIGKILL in the middle, wherever that is, then the same command again."""
    whole, killed = run_file("whole", 4, 24), run_file("killed", 4, 24, checkpoint_minutes=0.0)
    process = start(killed)
    wait_for_steps(killed, 6)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = len(losses(killed))
    assert 6 <= before < 24
    process = start(killed)
    here(whole)
    finish(process)
    assert losses(killed) == pytest.approx(losses(whole), rel=1e-6)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_sharded_processes_learn_as_one_and_resume(run_file, micros):
    """FSDP over two processes that recompute activations, asked to end on the way and started again; as one process,
    within 1e-3. Checkpoints of shards take long: after every step only until then.
    """
    one = run_file("one", 8, 12)
    sharded = run_file("sharded", 4, 12, 0.0, strategy="fsdp", activation_checkpointing=True)
    process = start_command(sharded, *TORCHRUN)
    wait_for_steps(sharded, 3)
    process.terminate()
    process.wait()
    assert 3 <= len(losses(sharded)) < 12
    run_file("sharded", 4, 12, strategy="fsdp", activation_checkpointing=True)
    process = start(sharded, processes=2)
    here(one)
    finish(process)
    assert losses(sharded) == pytest.approx(losses(one), abs=1e-3)
    first, second = (load_file(path.with_suffix("") / "export" / "model.safetensors") for path in (one, sharded))
    assert first.keys() == second.keys()
    assert all(torch.allclose(first[key], second[key], atol=1e-3) for key in first)
