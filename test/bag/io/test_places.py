# SPDX-License-Identifier: Apache-2.0
"""Bags of a fleet: packed ones are found, and what lies beside a SQLite file is copied with it."""

from needs import needs

needs("rosbags", "fsspec")

import fsspec

from da3_ros.bag.io import places


def test_packed_and_unfinished_bags_are_found(tmp_path):
    for name in ("a.mcap.zstd", "b.db3.zst", "c.bag.gz", "d.bag.active", "E.MCAP", "f.db3", "f.db3-wal", "notes.gz"):
        (tmp_path / name).touch()
    found = places.find_bags([str(tmp_path)])
    assert sorted(source.name for source in found) == ["E", "a", "b", "c", "d", "f"]
    assert [source.name for source in places.find_bags([str(tmp_path / "*.zstd")])] == ["a"]


def test_a_journal_is_fetched_with_its_file(tmp_path):
    store = fsspec.filesystem("memory")
    for name in ("bag.db3", "bag.db3-wal", "other.db3-wal"):
        store.pipe_file(f"/journal/{name}", name.encode())
    copy = places.fetch("memory://journal/bag.db3", tmp_path)
    assert copy == tmp_path / "bag.db3"
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {
        "bag.db3": "bag.db3",
        "bag.db3-wal": "bag.db3-wal",
    }
