# SPDX-License-Identifier: Apache-2.0
"""Damaged files of every kind: whatever is in them, opening and reading ends in BagError or in messages and words."""

from needs import needs

needs("rosbags")

import random
from itertools import islice

import bags
import pytest
from mcap_files import write_mcap

from da3_ros.bag.errors import BagError
from da3_ros.bag.io.reader import Recording

COUNT = 40
"""Files of each kind; `python test/bag/io/test_mutations.py N` tries more."""
MORE = {4: (1857, 1975)}
"""Seeds that found something: pages of SQLite that lead in a circle."""


def sources(folder):
    """Small whole files of every kind."""
    content = list(islice(sorted(bags.serialised(bags.events(4)), key=lambda event: event[1]), 24))
    foreign = (("/other", "json", "Status", "jsonschema", "{}", b"{}"),)
    yield write_mcap(folder / "zstd.mcap", content, foreign=foreign)
    yield write_mcap(folder / "plain.mcap", content, compression="", summary=False)
    yield write_mcap(folder / "lz4.mcap", content, compression="lz4", statistics=lambda fields: None)
    yield write_mcap(folder / "loose.mcap", content, per_chunk=0)
    yield bags.write_bag(folder / "sql", content, storage="sqlite3") / "sql.db3"
    yield bags.write_bag(folder / "packed", content, storage="sqlite3", compression="message") / "packed.db3"
    yield bags.write_bag(folder / "whole", content, compression="file") / "whole.mcap.zstd"
    yield bags.write_ros1_bag(folder / "old.bag", frames=3)


def mutated(data, rng):
    """Bytes changed, put in, taken out, doubled or cut off."""
    data = bytearray(data)
    for _ in range(rng.choice([1, 1, 1, 2, 5, 20])):
        # What says how the rest is to be read stands at the beginning and at the end.
        low, high = rng.choice([(0, len(data)), (0, 400), (max(0, len(data) - 2500), len(data))])
        at = rng.randrange(low, max(low + 1, min(high, len(data))))
        size = rng.choice([1, 1, 2, 8, 100])
        change = rng.randrange(7)
        if change < 3:
            data[at : at + 1] = bytes([rng.choice([0, 1, 127, 255, rng.randrange(256)])])
        elif change == 3:
            data[at : at + size] = rng.randbytes(size)
        elif change == 4:
            del data[at : at + size]
        elif change == 5:
            data[at:at] = data[at : at + size]
        else:
            del data[rng.randrange(len(data)) :]
        if not data:
            break
    return bytes(data)


def try_one(path):
    """Open and read; the number of messages, and how much is said."""
    try:
        with Recording(path) as recording:
            for name, topic in recording.topics.items():
                assert topic.name == name
            messages = list(recording.messages())
            for message in messages:
                assert isinstance(message.raw, bytes)
            recording.first(recording.topics)
            return len(messages), len(recording.problems) + len(recording.notes)
    except BagError:
        return 0, 1


@pytest.mark.parametrize("number", range(8))
def test_no_other_exception_passes(tmp_path, number):
    source = list(sources(tmp_path))[number]
    data, whole = source.read_bytes(), try_one(source)[0]
    assert whole > 10
    fewer = 0
    for seed in (*range(COUNT), *MORE.get(number, ())):
        source.write_bytes(mutated(data, random.Random(f"{number} {seed}")))
        count, said = try_one(source)
        fewer += count < whole
        assert said or count >= whole, f"seed {seed}: {count} of {whole} messages, and not a word"
    assert fewer > COUNT // 10


if __name__ == "__main__":
    import sys
    import traceback
    from pathlib import Path
    from tempfile import TemporaryDirectory

    with TemporaryDirectory() as place:
        for number, source in enumerate(sources(Path(place))):
            data, whole, found, silent = source.read_bytes(), try_one(source)[0], 0, []
            for seed in range(int(sys.argv[1])):
                source.write_bytes(mutated(data, random.Random(f"{number} {seed}")))
                try:
                    count, said = try_one(source)
                except Exception:
                    found += 1
                    print(source.name, "seed", seed, traceback.format_exc(limit=-3))
                    continue
                if not said and count < whole:
                    silent.append(seed)
            print(f"{source.name}: {sys.argv[1]} files, {found} exceptions, silently fewer messages: {silent}")
