# SPDX-License-Identifier: Apache-2.0
"""The course on a rented machine, piece by piece; `make rented` runs all of it in a clean environment."""

from needs import needs

needs("lightning_fabric", "safetensors", "torch", "tqdm")

import json
import os
import shutil
import sys
import time
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

from da3_ros.network import create_model
from da3_training.cli import train
from da3_training.cli.main import main
from da3_training.config import load_config
from da3_training.rented import course, machine
from da3_training.rented.cargo import Cargo
from da3_training.rented.course import run_course, spent_seconds
from da3_training.rented.machine import Machine
from da3_training.rented.plan import Times, in_words, overrides
from da3_training.rented.report import pictures, scores, training
from da3_training.run import trainer
from da3_training.run.pieces import join_pieces, write_pieces
from da3_training.shards.local import LocalShards

RENTED = course.ROOT / "training" / "rented_gpu"
GPU = Machine(16, "Big GPU", 80 << 30, True, "Big GPU/PCIe/SSE2", {}, ())
CPU = Machine(2, "", 0, False, "llvmpipe (LLVM 15)", {}, ())
BLIND = replace(GPU, renderer="", why="no libEGL.so")
PAUSE = "0.6"
"""Seconds that a step of a course takes at least."""


@pytest.fixture
def cargo(tmp_path, rooms):
    """Photographs to train and to score on, and weights of the micro network to begin with."""
    from da3_training.datasets.registry import SceneSet
    from da3_training.shards.writer import ShardOptions, write_shards

    folder = tmp_path / "cargo"
    folder.mkdir()
    for name in ("photos", "heldout"):
        write_shards(SceneSet("rooms", rooms), folder / name, ShardOptions())
    return folder


@pytest.fixture
def small(tmp_path, micro):
    """A configuration of the micro network."""
    samples = {"views_per_batch": 4, "view_counts": [1, 2], "sizes": [[28, 42]]}
    values = {
        "preset": micro,
        "encoder": "none",
        "frozen_blocks": 1,
        "stages": [{"samples": samples}],
        "optimiser": {"warmup": 2},
        "runtime": {"picture_steps": 5, "accelerator": "cpu"},
    }
    path = tmp_path / "small.yaml"
    path.write_text(yaml.safe_dump(values))
    return path


def packs_in(folder):
    (folder / "packs").mkdir()
    (folder / "packs" / "scenes_00.pack").write_bytes(b"a pack")
    return folder


# -- what was brought, what is there, what to do


def test_what_was_brought_is_found_and_what_was_not_is_said(cargo):
    found = Cargo.find(packs_in(cargo))
    assert (found.packs, found.photos, found.start) == (cargo / "packs", cargo / "photos", None)
    said = "\n".join(found.lines())
    assert "packs: 0.0 MB" in said
    assert "start: not brought, so training begins as the configuration says" in said


def test_nothing_to_train_on_is_an_error(tmp_path):
    (tmp_path / "heldout").mkdir()
    with pytest.raises(FileNotFoundError, match=r"pack-scenes.*da3-train shards"):
        Cargo.find(tmp_path)


@pytest.mark.parametrize(
    ("here", "packs", "sets", "weights"),
    [
        (GPU, True, ["studio", "shards"], [0.8, 0.2]),
        (GPU, False, ["shards"], [1.0]),
        (BLIND, True, ["shards"], [1.0]),
        (CPU, True, ["studio", "shards"], [0.8, 0.2]),
    ],
)
def test_what_is_trained_on_follows_from_machine_and_cargo(cargo, tmp_path, here, packs, sets, weights):
    found = Cargo.find(packs_in(cargo) if packs else cargo)
    config = load_config(RENTED / "nano.yaml", overrides(here, found, tmp_path / "work", tmp_path / "out", 0.2))
    assert [entry.dataset for entry in config.data] == sets
    assert [entry.weight for entry in config.data] == pytest.approx(weights)
    assert [entry.margin > 0 for entry in config.data] == [name == "shards" for name in sets]
    assert config.runtime.pieces == str(tmp_path / "out")
    assert config.runtime.precision == ("bf16-mixed" if here.gpu else "32-true")
    assert config.runtime.workers == {16: 15, 2: 2}[here.cores]
    assert config.encoder == "none"


def test_rooms_without_a_renderer_and_nothing_else_are_refused(tmp_path):
    with pytest.raises(RuntimeError, match=r"nothing that renders \(no libEGL.so\)"):
        overrides(BLIND, Cargo.find(packs_in(tmp_path)), tmp_path, tmp_path, 0.2)


def test_times_add_up_and_leave_something_to_train():
    times = Times(9, 2, 0.75)
    assert times.train == pytest.approx(9 - 2 - 0.75 - 5 / 60)
    with pytest.raises(ValueError, match="leave none to train"):
        Times(2, 2, 0.75)


def test_the_plan_in_words(cargo):
    said = in_words(GPU, Cargo.find(packs_in(cargo)), Times(9, 2, 0.75))
    for words in ("16 cores", "Big GPU, 80 GiB", "rendered by the GPU", "2 min: the GPU check", "6.17 min: training"):
        assert words in said
    said = in_words(replace(CPU, missing=("scipy",)), Cargo(None, cargo / "photos", None, None), Times(3, 0, 0))
    for words in ("a rehearsal", "by the processor", "missing: scipy", "check is left out", "nothing is scored"):
        assert words in said
    assert "cannot be rendered: no libEGL.so" in in_words(BLIND, Cargo.find(cargo), Times())


@pytest.mark.parametrize(
    ("module", "variables", "renderer", "why"),
    [
        ("raise Exception('no libEGL.so')", {}, "", "no libEGL.so"),
        ("import os; os._exit(11)", {}, "", ""),
        ("info = {'GL_RENDERER': 'llvmpipe'}", {}, "llvmpipe", ""),
        (
            "info = {'GL_RENDERER': 'Big GPU' if 'VENDOR' in os.environ else 'llvmpipe'}",
            {"VENDOR": ""},
            "Big GPU",
            "",
        ),
    ],
)
def test_what_renders_is_asked_in_a_process_of_its_own(tmp_path, monkeypatch, module, variables, renderer, why):
    """Beside a GPU also with the files of vendors that the loader does not find by itself."""
    (tmp_path / "moderngl.py").write_text(
        f"import os\ndef create_standalone_context(backend):\n    class C: info = {{}}\n    {module}\n"
        "    C.info = locals().get('info', {})\n    return C\n"
    )
    (tmp_path / "vendor.json").write_text("{}")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(machine, "VENDORS", ("/nowhere.json", str(tmp_path / "vendor.json")))
    monkeypatch.setattr(machine, "VENDOR_VARIABLE", "VENDOR")
    found, environment, reason = machine._renderer(gpu=True)
    assert found == renderer
    assert environment == ({"VENDOR": str(tmp_path / "vendor.json")} if variables else {})
    assert why in reason
    assert machine._renderer(gpu=False)[1] == {}


def test_this_machine_can_be_looked_at():
    here = Machine.inspect()
    assert here.cores == len(os.sched_getaffinity(0))
    assert "lightning_fabric" not in here.missing
    assert any(f"{here.cores} cores" in line for line in here.lines())


# -- doing it


def run(small, cargo, tmp_path, minutes, **more):
    times = Times(minutes, 0, 0.3)
    found = Cargo.find(cargo)
    more = {"runtime.threads": 1, **more}  # more would wait for each other all the time, for so little work
    return run_course(small, found, tmp_path / "work", tmp_path / "out", times, time.time(), 0.2, more)


def train_here(monkeypatch):
    """What a course runs from now on is its training alone, in this process, which has imported everything already."""
    learn = trainer._Run._learn
    monkeypatch.setattr(trainer._Run, "_learn", lambda *a: (time.sleep(float(PAUSE)), learn(*a))[1])
    monkeypatch.setattr(train, "process_start", time.monotonic)

    def run(name, command, work, seconds, here, meanwhile):
        verb, path = command[3:]
        said, begun = work / f"{name}.said", time.monotonic()
        with said.open("w") as file, redirect_stdout(file):
            main([verb, path])
        return course.Done(name, time.monotonic() - begun, 0, False, said)

    monkeypatch.setattr(course, "_run", run)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_whole_course_on_the_micro_network(small, cargo, tmp_path, monkeypatch, micros):
    """Trains from the weights that came, scores, and leaves pieces, log, page and picture; done again it goes on, also
    with nothing to score on.
    """
    write_pieces(create_model("micro"), cargo / "start")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), str(course.ROOT / "test" / "helpers")]))
    # The micro network among the presets of every process that has any, and steps that last without work.
    (tmp_path / "sitecustomize.py").write_text(
        f"import os, sys\nos.environ['DA3_TEST_PAUSE'] = '{PAUSE}'\n"
        "if 'da3_training' in sys.orig_argv:\n    import run_micro\n"
        "    if 'train' in sys.orig_argv:\n        run_micro.pause()\n"
    )
    begun = time.time()
    assert run(small, cargo, tmp_path, 0.75) == 0
    assert 20 < time.time() - begun < 75
    out = tmp_path / "out"
    names = {path.name for path in out.iterdir()}
    assert names == {"manifest.json", "log.jsonl", "report.md", "pictures.png"} | {n for n in names if "weights_" in n}
    page = (out / "report.md").read_text()
    for words in ("| train |", "| evaluate |", "| export | 1 |", "| start | 2 |", "images/s; of the time", "no GPU"):
        assert words in page
    assert "What" not in page  # nothing failed
    join_pieces(out, tmp_path / "joined")
    spent = spent_seconds(tmp_path / "work" / "run")
    assert 10 < spent < 35
    shutil.rmtree(cargo / "heldout")
    train_here(monkeypatch)
    assert run(small, cargo, tmp_path, 0.5) == 0
    hours = yaml.safe_load((tmp_path / "work" / "config.yaml").read_text())["hours"]
    assert spent < 3600 * hours < spent + 30 - 18 - 4
    assert spent_seconds(tmp_path / "work" / "run") > spent


def test_a_training_that_fails_is_told_with_what_it_said(small, cargo, tmp_path):
    assert run(small, cargo, tmp_path, 0.5, steps="many") == 1
    page = (tmp_path / "out" / "report.md").read_text()
    assert "| train | " in page
    assert "## What train said" in page
    assert "steps must be a number, got 'many'" in page
    assert "there are no weights" in page


def test_training_that_failed_on_the_way_is_begun_again(tmp_path, monkeypatch):
    """From its checkpoint; without rooms where it failed before its first step; three times in all."""
    monkeypatch.setattr(course, "WORTH", 0.0)
    (tmp_path / "small.yaml").write_text("{}")
    data = [{"dataset": "studio", "root": "packs"}, {"dataset": "shards", "root": "photos"}]

    def tried(*codes, steps):
        runs = []

        def run(name, command, work, seconds, here, meanwhile):
            runs.append([entry["dataset"] for entry in yaml.safe_load((work / "config.yaml").read_text())["data"]])
            if steps:
                (work / "run").mkdir(exist_ok=True)
                (work / "run" / "log.jsonl").write_text('{"step": 0}\n')
            return course.Done(name, 1.0, codes[len(runs) - 1], False, work / f"{name}.said")

        monkeypatch.setattr(course, "_run", run)
        work = tmp_path / f"work_{steps}_{len(codes)}"
        work.mkdir()
        done = course._train(tmp_path / "small.yaml", {"data": data}, work, work, time.time() + 100, CPU)
        return [part.name for part in done], runs

    both, photos = ["studio", "shards"], ["shards"]
    assert tried(0, steps=True) == (["train"], [both])
    assert tried(1, 0, steps=True) == (["train", "train again 1"], [both, both])
    assert tried(1, 0, steps=False) == (["train", "train again 1"], [both, photos])
    assert tried(1, 1, 1, 1, steps=True)[1] == [both] * 3


def test_the_proof_on_a_gpu_is_kept_whatever_comes_after(small, cargo, tmp_path, monkeypatch):
    def check(minutes, work, here):
        (work / "gpu_check.json").write_text('{"passed": true}')
        (work / "gpu_check.md").write_text("| proof |")
        return course.Done("check", 1.0, 0, False, work / "gpu_check.md")

    monkeypatch.setattr(course, "_check", check)
    times = Times(0.6, 0.1, 0.3)
    more = {"task": "no-such-task"}
    code = run_course(small, Cargo.find(cargo), tmp_path / "work", tmp_path / "out", times, time.time(), 0.2, more)
    assert code == 1
    assert json.loads((tmp_path / "out" / "gpu_check.json").read_text()) == {"passed": True}
    assert "| proof |" in (tmp_path / "out" / "report.md").read_text()


def test_pieces_that_do_not_fit_together_are_told(small, cargo, tmp_path):
    write_pieces(create_model("da3-nano"), cargo / "start", limit=20_000_000)
    next((cargo / "start").glob("weights_*.01")).unlink()
    assert run(small, cargo, tmp_path, 0.5) == 1
    assert "is missing, one of 2 pieces" in (tmp_path / "out" / "report.md").read_text()


def test_what_is_late_is_ended(tmp_path):
    stubborn = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('on'); time.sleep(60)"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(course, "GRACE", 0.5)
        begun = time.monotonic()
        done = course._run("part", [sys.executable, "-c", stubborn], tmp_path, 1.0, CPU)
    assert done.late
    assert done.failed
    assert time.monotonic() - begun < 40
    assert done.said.read_text() == "on\n"
    willing = course._run("part", [sys.executable, "-c", "import time; time.sleep(60)"], tmp_path, 0.5, CPU)
    assert (willing.late, willing.code) == (True, -15)


def test_nothing_that_a_part_began_outlives_it(tmp_path):
    code = "import subprocess; print(subprocess.Popen(['sleep', '60']).pid)"
    calls = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(course, "OFTEN", 0.01)
        done = course._run("part", [sys.executable, "-c", code], tmp_path, 20, CPU, lambda: calls.append(1))
    assert calls
    child = int(done.said.read_text())
    time.sleep(0.2)
    status = Path(f"/proc/{child}/status")
    assert not status.exists() or "Z" in status.read_text().split("State:")[1][:4]


def test_variables_of_the_renderer_reach_every_part(tmp_path):
    code = "import os; print(os.environ['RENDERS'], os.environ['PYTHONPATH'].split(os.pathsep)[0])"
    done = course._run("part", [sys.executable, "-c", code], tmp_path, 20, replace(CPU, environment={"RENDERS": "yes"}))
    assert done.said.read_text().split() == ["yes", str(course.ROOT / "training")]


# -- what is told


def test_the_course_of_the_loss_in_tenths(tmp_path):
    log = tmp_path / "log.jsonl"
    entries = [{"step": i, "loss": 2.0 - i / 100, "seconds": 0.5, "views": [2, 3]} for i in range(100)]
    entries[7]["loss"] = float("nan")
    log.write_text("\n".join(json.dumps(e) for e in [*entries[:20], *entries[10:]]))
    page = training(log, "INFO x: 12.0 images/s; of the time: data 1%")
    assert page.startswith("100 steps, 600 images.")
    assert "| 10 to 19 | 1.8550 | 12.0 |" in page
    assert page.endswith("12.0 images/s; of the time: data 1%")
    log.write_text(log.read_text() + '\n{"step": 100, "lo')  # of a process that was killed
    assert training(log, "").startswith("100 steps")
    assert training(tmp_path / "none.jsonl", "") == ""


def test_scores_as_a_table():
    line = {"checkpoint": "a/export", "views": 2, "sets": 9, "absrel": 0.2, "delta1": 0.7, "auc30": 0.25}
    line |= {"constant_absrel": 0.4, "constant_delta1": 0.5}
    assert "| export | 2 | 9 | 0.200 / 0.700 | 0.400 / 0.500 | 0.250 |" in scores(f"noise\n{json.dumps(line)}\n")
    assert scores("nothing") == ""


def test_pictures_of_all_widths_are_one(tmp_path):
    pictures(tmp_path, tmp_path / "none.png")
    assert not (tmp_path / "none.png").exists()
    for folder, width in (("pictures", 30), ("run/pictures", 50)):
        (tmp_path / folder).mkdir(parents=True)
        cv2.imwrite(str(tmp_path / folder / "a.png"), np.zeros((20, width, 3), np.uint8))
    pictures(tmp_path, tmp_path / "all.png")
    assert cv2.imread(str(tmp_path / "all.png")).shape == (56, 50, 3)


def test_the_command_says_what_it_would_do(cargo, tmp_path, capsys):
    main(["rented", str(cargo), "--out", str(tmp_path / "out"), "--plan"])
    assert "minutes in all" in capsys.readouterr().out
    assert not (tmp_path / "out").exists()
    with pytest.raises(SystemExit, match=r"--photos 1\.5 is a share"):
        main(["rented", str(cargo), "--out", str(tmp_path / "out"), "--photos", "1.5"])


# -- shards in any order


def test_local_shards_are_the_records_they_were_made_of(cargo, rooms):
    from da3_training.data.records import load_room

    shards = LocalShards(cargo / "photos")
    assert len(shards) == 2
    stored = {view.key: view.load() for i in range(2) for cluster in shards[i] for view in cluster.views}
    originals = [view.load() for folder in sorted(rooms.glob("room_*")) for view in load_room(folder)[0].views]
    assert len(stored) == len(originals) == 6
    for (_, found), original in zip(sorted(stored.items()), originals, strict=True):
        np.testing.assert_array_equal(found.image, original.image)
        np.testing.assert_allclose(found.depth, original.depth, rtol=2e-4)


def test_shards_that_are_not_whole_are_refused(cargo):
    [shard] = (cargo / "photos").glob("*.tar")
    whole = shard.read_bytes()
    shard.write_bytes(whole[: len(whole) // 2 // 512 * 512])
    with pytest.raises(ValueError, match="write it again"):
        LocalShards(cargo / "photos")
    shard.write_bytes(b"no tar file at all")
    with pytest.raises(ValueError, match="no whole shard"):
        LocalShards(cargo / "photos")
