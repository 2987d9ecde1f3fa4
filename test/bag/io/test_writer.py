# SPDX-License-Identifier: Apache-2.0
"""Files of an output."""

from needs import needs

needs("rosbags")

import subprocess
import sys

import yaml

# A process of its own: a fork of this one, with its threads, may hang.
WRITE = """
import sys
from pathlib import Path
from da3_ros.bag.io.writer import Format, Span, write_metadata
folder, scratch, number = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
for _ in range(150):
    spans = {f"part_{i}.mcap": Span(i, i + 1, {"/depth": 1}) for i in range(number)}
    write_metadata(folder, scratch, spans, [], Format(), {})
"""


def test_several_processes_write_metadata_of_one_folder(tmp_path):
    folders = [tmp_path / "parts", tmp_path / "scratch"]
    for folder in folders:
        folder.mkdir()
    workers = [subprocess.Popen([sys.executable, "-c", WRITE, *folders, str(number)]) for number in (1, 40)]
    counts = set()
    while any(worker.poll() is None for worker in workers):
        if (folders[0] / "metadata.yaml").exists():
            content = yaml.safe_load((folders[0] / "metadata.yaml").read_text())["rosbag2_bagfile_information"]
            counts.add(content["message_count"])
    assert [worker.returncode for worker in workers] == [0, 0]
    assert counts <= {1, 40}
    assert [path.name for path in folders[0].iterdir()] == ["metadata.yaml"]
