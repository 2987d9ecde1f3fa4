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

from da3_training.run.checkpoints import PREFIX, newest

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]


def losses(path):
    return {step: e["loss"] for step, e in read_log(path.with_suffix("")).items()}


@pytest.mark.slow
def test_two_processes_learn_as_one_with_the_doubled_batch(run_file, micros):
    """12 steps, within 1e-3."""
    one, two = run_file("one", 8, 12), run_file("two", 4, 12)
    process = start(two, processes=2)
    here(one)
    finish(process)
    assert sorted(losses(two)) == list(range(12))
    assert losses(two) == pytest.approx(losses(one), abs=1e-3)


@pytest.mark.slow
def test_a_killed_run_goes_on_as_if_nothing_had_happened(run_file, micros):
    """SIGKILL in the middle, wherever that is, then the same command again. Checkpoints after every step only until
    then.
    """
    whole, killed = run_file("whole", 4, 24), run_file("killed", 4, 24, checkpoint_minutes=0.0)
    process = start(killed)
    wait_for_steps(killed, 6)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = len(losses(killed))
    assert 6 <= before < 24
    run_file("killed", 4, 24)
    process = start(killed)
    here(whole)
    finish(process)
    assert losses(killed) == pytest.approx(losses(whole), rel=1e-6)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_sharded_processes_learn_as_one_and_resume(run_file, micros):
    """FSDP over two processes that recompute activations, asked to end on the way and started again; as one process,
    within 1e-3. Steps are told one by one and last until they are; checkpoints of shards take longer.
    """
    one = run_file("one", 8, 12)
    sharded = run_file("sharded", 4, 12, strategy="fsdp", activation_checkpointing=True, sync_steps=1)
    process = start_command(sharded, *TORCHRUN, DA3_TEST_PAUSE="0.5")
    wait_for_steps(sharded, 3)
    process.terminate()
    process.wait()
    done = len(losses(sharded))
    assert 3 <= done < 12
    assert newest(sharded.with_suffix("")).name == f"{PREFIX}{done:09d}"
    process = start(sharded, processes=2)
    here(one)
    finish(process)
    assert losses(sharded) == pytest.approx(losses(one), abs=1e-3)
    first, second = (load_file(path.with_suffix("") / "export" / "model.safetensors") for path in (one, sharded))
    assert first.keys() == second.keys()
    assert all(torch.allclose(first[key], second[key], atol=1e-3) for key in first)
