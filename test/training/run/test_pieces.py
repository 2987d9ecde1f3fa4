# SPDX-License-Identifier: Apache-2.0
"""Checkpoints in pieces: what comes back, what is refused, and what a kill at any moment leaves."""

from needs import needs

needs("lightning_fabric", "onnx", "safetensors", "torch", "tqdm", "webdataset")

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from da3_ros.network import create_model, load_checkpoint, save_checkpoint
from da3_training import cli
from da3_training.run import pieces
from da3_training.run.pieces import MANIFEST, join_pieces, read_manifest, write_pieces

ROOT = Path(__file__).resolve().parents[3]
LIMIT = 100_000


@pytest.fixture
def network(micro):
    return create_model(micro)


def changed(network):
    """The same network after some steps."""
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.01)
    return network


def files(folder):
    return sorted(path.name for path in folder.iterdir())


def test_joined_they_are_the_weights_in_half_precision(network, tmp_path, capsys):
    written = write_pieces(network, tmp_path / "pieces", {"step": "1200"}, LIMIT)
    assert len(written.pieces) > 3
    cli.main(["join", str(tmp_path / "pieces"), "-o", str(tmp_path / "out")])
    said = capsys.readouterr().out
    assert "micro, step 1200" in said
    assert f"{written.bytes} bytes of {len(written.pieces)} pieces" in said
    ours, true = load_checkpoint(tmp_path / "out").state_dict(), network.state_dict()
    assert ours.keys() == true.keys()
    for key, value in true.items():
        torch.testing.assert_close(ours[key], value.half().float(), rtol=0, atol=0)
    assert (tmp_path / "out" / "model.safetensors").stat().st_size == written.bytes


def test_the_file_is_the_one_that_the_package_writes(network, tmp_path):
    from safetensors import safe_open

    write_pieces(network, tmp_path / "pieces", {"step": "7"}, LIMIT)
    join_pieces(tmp_path / "pieces", tmp_path / "ours")
    save_checkpoint(network, tmp_path / "theirs", torch.float16, {"step": "7"})
    ours, theirs = (safe_open(tmp_path / name / "model.safetensors", framework="pt") for name in ("ours", "theirs"))
    assert ours.metadata() == theirs.metadata() == {"format": "pt", "step": "7"}
    assert sorted(ours.keys()) == sorted(theirs.keys())
    for key in theirs.keys():  # noqa: SIM118
        assert torch.equal(ours.get_tensor(key), theirs.get_tensor(key))
    assert (tmp_path / "ours" / "config.json").read_bytes() == (tmp_path / "theirs" / "config.json").read_bytes()


def test_pieces_are_small_and_named_plainly(network, tmp_path):
    for limit in (LIMIT, 64_000, 10**9):
        written = write_pieces(network, tmp_path, {}, limit)
        sizes = [(tmp_path / piece.name).stat().st_size for piece in written.pieces]
        assert sizes == [piece.bytes for piece in written.pieces]
        assert max(sizes) <= limit
        assert len(sizes) == -(-written.bytes // limit)
        assert files(tmp_path) == sorted([MANIFEST, *(piece.name for piece in written.pieces)])
        assert all(re.fullmatch(r"[A-Za-z0-9._-]+", name) for name in files(tmp_path))


def test_a_nano_is_three_pieces(tmp_path):
    written = write_pieces(create_model("da3-nano"), tmp_path)
    assert len(written.pieces) == 3
    assert max(piece.bytes for piece in written.pieces) <= 15_000_000


def test_a_newer_set_takes_the_place_of_the_older_and_other_files_stay(network, tmp_path):
    (tmp_path / "log.jsonl").write_text("kept")
    first = write_pieces(network, tmp_path, {"step": "1"}, LIMIT)
    second = write_pieces(changed(network), tmp_path, {"step": "2"}, LIMIT)
    assert read_manifest(tmp_path) == second != first
    assert files(tmp_path) == sorted([MANIFEST, "log.jsonl", *(piece.name for piece in second.pieces)])
    assert write_pieces(network, tmp_path, {"step": "2"}, LIMIT) == second  # once more, after a resume


def test_weights_that_half_precision_cannot_hold_leave_the_older_set(network, tmp_path):
    first = write_pieces(network, tmp_path, {}, LIMIT)
    for value in (1e5, float("nan")):
        with torch.no_grad():
            next(network.parameters()).view(-1)[0] = value
        with pytest.raises(ValueError, match="half precision cannot hold"):
            write_pieces(network, tmp_path, {}, LIMIT)
    assert join_pieces(tmp_path, tmp_path / "out") == first


def test_a_limit_of_nothing_is_refused(network, tmp_path):
    with pytest.raises(ValueError, match="give 1 or more"):
        write_pieces(network, tmp_path, {}, 0)


class TestRefused:
    @pytest.fixture
    def folder(self, network, tmp_path):
        write_pieces(network, tmp_path / "pieces", {"step": "1"}, LIMIT)
        return tmp_path / "pieces"

    def refuse(self, folder, out, message):
        with pytest.raises(SystemExit, match=f"da3-train join: .*{message}"):
            cli.main(["join", str(folder), "-o", str(out)])
        assert not out.exists()

    def test_damaged(self, folder, tmp_path):
        piece = folder / read_manifest(folder).pieces[1].name
        data = bytearray(piece.read_bytes())
        data[len(data) // 2] ^= 1
        piece.write_bytes(data)
        self.refuse(folder, tmp_path / "out", rf"{re.escape(piece.name)} is damaged or of another set")

    def test_truncated(self, folder, tmp_path):
        piece = folder / read_manifest(folder).pieces[-1].name
        piece.write_bytes(piece.read_bytes()[:-1])
        self.refuse(folder, tmp_path / "out", rf"{re.escape(piece.name)} is damaged")

    def test_missing(self, folder, tmp_path):
        piece = folder / read_manifest(folder).pieces[2].name
        piece.unlink()
        self.refuse(folder, tmp_path / "out", rf"{re.escape(piece.name)} is missing, one of \d+ pieces: fetch it")

    def test_of_another_set(self, folder, network, tmp_path):
        """A piece under its own name, and one under the name of ours."""
        other = write_pieces(changed(network), tmp_path / "other", {"step": "2"}, LIMIT).pieces[0]
        ours = folder / read_manifest(folder).pieces[0].name
        ours.write_bytes((tmp_path / "other" / other.name).read_bytes())
        self.refuse(folder, tmp_path / "out", rf"{re.escape(ours.name)} is damaged or of another set")
        ours.rename(folder / other.name)
        self.refuse(folder, tmp_path / "out", rf"{re.escape(ours.name)} is missing.*{other.name} of another set")

    def test_a_manifest_that_is_none(self, folder, tmp_path):
        content = json.loads((folder / MANIFEST).read_text())
        for text, message in (
            ("{", "is damaged"),
            (json.dumps({**content, "version": 2}), "version 2; read here: 1"),
            (json.dumps({**content, "sha256": "0" * 64}), "the pieces together are not"),
            (json.dumps({**content, "pieces": [{**content["pieces"][0], "name": "../x"}]}), "no name that is written"),
        ):
            (folder / MANIFEST).write_text(text)
            self.refuse(folder, tmp_path / "out", message)
        (folder / MANIFEST).unlink()
        self.refuse(folder, tmp_path / "out", "has no manifest.json")


class Killed(BaseException):
    """The machine is gone: nothing of the process runs any more."""


@pytest.fixture
def mortal(monkeypatch):
    """A function that lets so many steps on the disk happen, and none after them."""
    left = [10**9]

    def count(target, name):
        plain = getattr(target, name)

        def step(*arguments, **options):
            if left[0] <= 0:
                raise Killed
            left[0] -= 1
            return plain(*arguments, **options)

        monkeypatch.setattr(target, name, step)

    for name in ("touch", "open", "replace", "unlink", "chmod"):
        count(Path, name)
    count(os, "fsync")

    def live(steps):
        left[0] = steps

    return live


def test_a_kill_at_any_moment_leaves_one_whole_set(network, mortal, tmp_path):
    """The machine ends at each step in turn: what is there joins, and the next write leaves nothing behind."""
    folder, found = tmp_path / "pieces", []
    limit = -(-write_pieces(network, folder).bytes // 3)
    newer = changed(create_model(network.preset.name))
    joined = tmp_path / "out" / "model.safetensors"
    true = {}
    for step, model in (("1", network), ("2", newer)):
        write_pieces(model, folder, {"step": step}, limit)
        join_pieces(folder, tmp_path / "out")
        ours = load_checkpoint(tmp_path / "out").state_dict()
        assert all(torch.equal(ours[key], value.half().float()) for key, value in model.state_dict().items())
        true[step] = load_file(joined)
    for steps in range(100):
        mortal(10**9)
        write_pieces(network, folder, {"step": "1"}, limit)
        mortal(steps)
        try:
            write_pieces(newer, folder, {"step": "2"}, limit)
            finished = True
        except Killed:
            finished = False
        mortal(10**9)
        found.append(join_pieces(folder, tmp_path / "out").metadata["step"])
        ours = load_file(joined)
        assert ours.keys() == true[found[-1]].keys()
        assert all(torch.equal(ours[key], value) for key, value in true[found[-1]].items())
        last = write_pieces(newer, folder, {"step": "3"}, limit)
        assert files(folder) == sorted([MANIFEST, *(piece.name for piece in last.pieces)])
        if finished:
            break
    assert finished
    turn = found.index("2")
    assert 10 < turn < len(found) - 2  # many kills before the new set was there, and some after
    assert set(found[:turn]) == {"1"}
    assert set(found[turn:]) == {"2"}


def test_a_set_that_is_replaced_while_it_is_read_is_read_anew(network, tmp_path, monkeypatch):
    write_pieces(network, tmp_path / "pieces", {"step": "1"}, LIMIT)
    plain, calls = pieces._read, []

    def read(*arguments):
        calls.append(arguments)
        if len(calls) == 2:
            write_pieces(changed(network), tmp_path / "pieces", {"step": "2"}, LIMIT)
        return plain(*arguments)

    monkeypatch.setattr(pieces, "_read", read)
    assert join_pieces(tmp_path / "pieces", tmp_path / "out").metadata == {"step": "2"}


def test_writing_takes_no_safetensors(micros, tmp_path):
    """As on a rented machine with PyTorch alone."""
    code = (
        "import sys; sys.modules['safetensors'] = None\n"
        "from pathlib import Path\n"
        "from da3_ros.network import PRESETS, create_model\n"
        "from da3_training.run.pieces import write_pieces\n"
        "from micro import MICRO\n"
        "PRESETS['micro'] = MICRO\n"
        f"print(len(write_pieces(create_model('micro'), Path(sys.argv[1]), limit={LIMIT}).pieces))\n"
    )
    path = os.pathsep.join((str(ROOT / "training"), str(ROOT), str(ROOT / "test" / "helpers")))
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "pieces")],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    manifest = join_pieces(tmp_path / "pieces", tmp_path / "out")
    assert done.stdout.strip() == str(len(manifest.pieces))
    assert len(manifest.pieces) > 1
    assert manifest.network == "micro"
    load_checkpoint(tmp_path / "out")
