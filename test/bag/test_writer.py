# SPDX-License-Identifier: Apache-2.0
"""Files of an output."""

import multiprocessing

import yaml

from da3_ros.bag.writer import Format, Span, write_metadata

TIMES = 150


def write(folder, scratch, number):
    for _ in range(TIMES):
        spans = {f"part_{i}.mcap": Span(i, i + 1, {"/depth": 1}) for i in range(number)}
        write_metadata(folder, scratch, spans, [], Format(), {})


def test_several_processes_write_metadata_of_one_folder(tmp_path):
    folders = [tmp_path / "parts", tmp_path / "scratch"]
    for folder in folders:
        folder.mkdir()
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=write, args=(*folders, number)) for number in (1, 40)]
    for worker in workers:
        worker.start()
    counts = set()
    while any(worker.is_alive() for worker in workers):
        if (folders[0] / "metadata.yaml").exists():
            content = yaml.safe_load((folders[0] / "metadata.yaml").read_text())["rosbag2_bagfile_information"]
            counts.add(content["message_count"])
    assert [worker.exitcode for worker in workers] == [0, 0]
    assert counts <= {1, 40}
    assert [path.name for path in folders[0].iterdir()] == ["metadata.yaml"]
