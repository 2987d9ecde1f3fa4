# SPDX-License-Identifier: Apache-2.0
"""Which files make up a recording, what they are, and in which order they are read: the files decide."""

from needs import needs

needs("mcap", "rosbags")

import bz2
import gzip
import lzma
import os
import shutil
import tarfile
import zipfile

import bags
import lz4.frame
import pytest
import yaml
from backports import zstd
from mcap.writer import Writer as McapWriter
from mcap_files import write_mcap

from da3_ros.bag.errors import BagError
from da3_ros.bag.io.reader import Recording

PACKERS = {
    ".zstd": zstd.compress,
    ".zst": zstd.compress,
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".lz4": lz4.frame.compress,
}


@pytest.fixture(scope="module")
def content():
    return sorted(bags.serialised(bags.events()), key=lambda event: event[1])


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "folder"
    path.mkdir()
    return path


def read(path):
    with Recording(path) as recording:
        return [(m.topic, m.log_ns, bytes(m.raw)) for m in recording.messages()], recording


def halves(content):
    return content[: len(content) // 2], content[len(content) // 2 :]


def listed(folder, names, **changes):
    """metadata.yaml that lists these files and is wrong about all else."""
    content = {"version": 9, "storage_identifier": "mcap", "relative_file_paths": names, "message_count": 0, **changes}
    (folder / "metadata.yaml").write_text(yaml.safe_dump({"rosbag2_bagfile_information": content}))


def counted(counts):
    return [{"topic_metadata": {"name": topic}, "message_count": count} for topic, count in counts.items()]


def said(recording, words):
    return any(words in note for note in recording.notes) and not recording.problems


def test_files_that_cover_the_same_time_are_merged(folder, content):
    """One file a camera, of several recorders at once."""
    for name in ("left", "right"):
        write_mcap(folder / f"{name}.mcap", [event for event in content if event[0].startswith(f"/{name}/")])
    rest = [event for event in content if event[0][:3] in ("/tf", "/no")]
    shutil.move(bags.write_bag(folder / "rest", rest, storage="sqlite3") / "rest.db3", folder)
    shutil.rmtree(folder / "rest")
    found, recording = read(folder)
    assert [event[1] for event in found] == [event[1] for event in content]
    assert sorted(found) == sorted(content)
    assert said(recording, "its 3 files: they are merged by log time")


def test_one_file_of_several_says_that_it_is_not_the_whole(folder, content):
    for name, part in zip(("r_0", "r_1"), halves(content), strict=True):
        write_mcap(folder / f"{name}.mcap", part)
    assert not read(folder / "r_1.mcap")[1].notes
    listed(folder, ["r_0.mcap", "r_1.mcap"])
    found, recording = read(folder / "r_1.mcap")
    assert len(found) == len(halves(content)[1])
    assert said(recording, "r_1.mcap is one of 2 files of the recording")
    listed(folder, ["r_1.mcap"])
    assert not said(read(folder / "r_1.mcap")[1], "is one of")


def test_files_that_follow_each_other_go_in_the_order_of_time_not_of_names(folder, content):
    first, second = halves(content)
    write_mcap(folder / "b.mcap", first)
    write_mcap(folder / "a.mcap", second)
    found, recording = read(folder)
    assert found == content
    assert said(recording, "in the order of their log times, which is b.mcap, a.mcap, not in that of their names")
    (folder / "b.mcap").rename(folder / "0.mcap")
    assert not any("of their names" in note for note in read(folder)[1].notes)


def test_split_bags_go_by_log_time_whatever_order_they_are_listed_in(folder, content):
    first, second = halves(content)
    write_mcap(folder / "0.mcap", first)
    write_mcap(folder / "1.mcap", second)
    listed(folder, ["1.mcap", "0.mcap"])
    found, recording = read(folder)
    assert found == content
    assert said(recording, "which is 0.mcap, 1.mcap, not in that in which metadata.yaml lists them")
    write_mcap(folder / "0.mcap", content[::2])
    write_mcap(folder / "1.mcap", content[1::2])
    assert read(folder)[0] == sorted(content[1::2] + content[::2], key=lambda event: event[1])


def test_a_listing_that_sorts_ten_before_two(folder, content):
    """As `ros2 bag reindex` makes it."""
    names = [f"bag_{number}.mcap" for number in range(12)]
    size = len(content) // 11
    for number, name in enumerate(names):
        write_mcap(folder / name, content[number * size : (number + 1) * size])
    listed(folder, sorted(names))
    assert read(folder)[0] == content[: 12 * size]


def test_topics_of_several_recorders_are_named(folder, content):
    write_mcap(folder / "a.mcap", content)
    write_mcap(folder / "b.mcap", content[3:])
    found, recording = read(folder)
    assert len(found) == 2 * len(content) - 3
    assert said(recording, "a.mcap and b.mcap cover the same time and both have /left/camera_info")


@pytest.mark.parametrize("copy", ["copy.mcap", "bag.mcap.zstd", "copy.db3.gz"])
def test_a_copy_is_read_once(folder, content, copy):
    source = write_mcap(folder / "bag.mcap", content)
    (folder / copy).write_bytes(PACKERS.get("." + copy.split(".")[-1], bytes)(source.read_bytes()))
    found, recording = read(folder)
    assert found == content
    assert not recording.problems
    assert copy in recording.notes[0]


@pytest.mark.parametrize(
    ("names", "changes", "words"),
    [
        ([], {}, "lists no files"),
        (["bag.mcap"], {"topics_with_message_count": counted({"/notes": 2})}, "hold more messages than metadata.yaml"),
        (["bag.mcap"], {"version": 99, "storage_identifier": "rosbag_v2"}, ""),
        (["old/bag.mcap"], {}, ""),
        (["bag.mcap", "bag.mcap"], {}, ""),
        ("bag.mcap", {}, ""),
        ([3, None, "", "bag.mcap"], {}, ""),
        (["bag.mcap.zstd"], {"compression_mode": "FILE", "compression_format": "zstd"}, ""),
        (["bag.mcap"], {"compression_mode": "MESSAGE", "compression_format": "zstd"}, ""),
        (["bag.mcap"], {"compression_mode": "FILE", "compression_format": "lz4"}, ""),
        (["bag.mcap"], {"topics_with_message_count": [3]}, ""),
    ],
)
def test_metadata_that_contradicts_the_files(folder, content, names, changes, words):
    write_mcap(folder / "bag.mcap", content)
    listed(folder, names, **changes)
    found, recording = read(folder)
    assert found == content
    assert said(recording, words) if words else (recording.problems, recording.notes) == ([], [])


@pytest.mark.parametrize("text", [b"\xff\xfe\x80", b"a: [", b"just words", b"", b"rosbag2_bagfile_information: 3"])
def test_metadata_that_cannot_be_read(folder, content, text):
    write_mcap(folder / "bag.mcap", content)
    (folder / "metadata.yaml").write_bytes(text)
    found, recording = read(folder)
    assert found == content
    assert said(recording, "metadata.yaml cannot be read")


def test_only_files_of_the_folder_belong_to_it(folder, content):
    write_mcap(folder / "bag.mcap", content)
    write_mcap(folder.parent / "other.mcap", content[:3])
    listed(folder, ["bag.mcap", "../other.mcap"])
    found, recording = read(folder)
    assert found == content
    assert "lists files that are not there: other.mcap" in recording.problems[0]
    (folder / "bag.mcap").rename(folder.parent / "elsewhere")
    (folder / "bag.mcap").symlink_to(folder.parent / "elsewhere")
    listed(folder, ["bag.mcap"])
    assert read(folder)[0] == content
    assert read(folder)[1].problems == []


def test_messages_that_metadata_counts_and_no_file_holds_are_lost(folder, content):
    write_mcap(folder / "bag.mcap", content)
    listed(folder, ["bag.mcap"], topics_with_message_count=counted({"/notes": 9, "/gone": 4, "/silent": 0}))
    found, recording = read(folder)
    assert found == content
    assert "/notes 9 (6), /gone 4 (0);" in recording.problems[0]


def test_files_that_are_not_listed(folder, content):
    """Read where they go on or have other topics, not where they hold the same again."""
    first, second = halves(content)
    write_mcap(folder / "bag_0.mcap", first)
    listed(folder, ["bag_0.mcap"])
    write_mcap(folder / "bag_1.mcap", second)
    found, recording = read(folder)
    assert found == content
    assert said(recording, "does not list bag_1.mcap, which lies beside the others: it is read, too")
    write_mcap(folder / "bag_1.mcap", content[2:])
    found, recording = read(folder)
    assert found == first
    assert said(recording, "does not list bag_1.mcap, which covers the time of others")


def test_a_listed_file_that_was_packed_or_unpacked_since(folder, content):
    source = write_mcap(folder / "bag.mcap", content)
    listed(folder, ["bag.mcap"])
    (folder / "bag.mcap.zstd").write_bytes(zstd.compress(source.read_bytes()))
    source.unlink()
    assert read(folder)[0] == content
    assert read(folder)[1].problems == []


@pytest.mark.parametrize("suffix", PACKERS)
@pytest.mark.parametrize("kind", [".mcap", ".db3", ".bag"])
def test_files_packed_as_a_whole(tmp_path, folder, content, suffix, kind):
    if kind == ".bag":
        source = bags.write_ros1_bag(tmp_path / "one.bag")
    else:
        made = bags.write_bag(tmp_path / "one", content, storage="mcap" if kind == ".mcap" else "sqlite3")
        source = made / f"one{kind}"
    target = folder / f"one{kind}{suffix}"
    target.write_bytes(PACKERS[suffix](source.read_bytes()))
    bare = shutil.copyfile(target, tmp_path / "without-suffix")
    for path in (target, folder, bare):
        with Recording(path) as recording:
            found = [m.log_ns for m in recording.messages()]
            assert (found, recording.problems) == ([event[1] for event in content], [])


def test_a_packed_file_that_is_cut_off_is_read_up_to_there(tmp_path, content):
    source = write_mcap(tmp_path / "one.mcap", content, compression="")
    data = zstd.compress(source.read_bytes())
    (tmp_path / "cut.mcap.zstd").write_bytes(data[: len(data) // 2])
    found, recording = read(tmp_path / "cut.mcap.zstd")
    assert found == content[: len(found)]
    assert len(found) > 5
    assert "packed as a whole (zstd) and damaged" in recording.problems[0]


@pytest.mark.parametrize(
    ("kind", "name"), [("mcap", "x.bag"), ("sqlite3", "x.mcap"), ("ros1", "x.mcap"), ("mcap", "x")]
)
def test_a_suffix_that_lies(tmp_path, content, kind, name):
    if kind == "ros1":
        source = bags.write_ros1_bag(tmp_path / "one.bag")
    else:
        source = next((bags.write_bag(tmp_path / "one", content, storage=kind)).glob("one.*"))
    with Recording(shutil.move(source, tmp_path / name)) as recording:
        assert [m.log_ns for m in recording.messages()] == [event[1] for event in content]
        assert recording.is_ros1 == (kind == "ros1")
        assert said(recording, f"{name} is a ") == (name != "x")


def test_what_else_a_file_may_be(tmp_path):
    with zipfile.ZipFile(tmp_path / "zip.mcap", "w") as archive:
        archive.writestr("bag.mcap", "x")
    with tarfile.open(tmp_path / "tar.bag", "w") as archive:
        archive.add(tmp_path / "zip.mcap", "bag.mcap")
    others = {
        "zip.mcap": "is a zip archive: unpack it",
        "tar.bag": "is a tar archive: unpack it",
        "lfs.mcap": "pointer of Git LFS.*git lfs pull",
        "page.db3": "the download went wrong",
        "empty.mcap": r"is empty \(0 bytes\)",
        "noise.db3": "is no SQLite file",
    }
    (tmp_path / "lfs.mcap").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
    (tmp_path / "page.db3").write_text("<!doctype html><html></html>")
    (tmp_path / "empty.mcap").touch()
    (tmp_path / "noise.db3").write_bytes(bytes(range(200)))
    for name, words in others.items():
        with pytest.raises(BagError, match=words):
            read(tmp_path / name)


def test_one_bad_file_costs_itself(folder, content):
    write_mcap(folder / "a.mcap", content)
    (folder / "b.mcap").touch()
    found, recording = read(folder)
    assert found == content
    assert "b.mcap is empty" in recording.problems[0]


def test_what_is_no_file_is_refused_in_words():
    with pytest.raises(BagError, match="neither a file nor a folder"):
        Recording("/dev/null")


def test_folders_in_a_folder_are_named(folder, content):
    for name in ("run_2", "run_10"):
        bags.write_bag(folder / name, content)
    (folder / "pictures").mkdir()
    with pytest.raises(BagError, match=r"bags lie in folders below it.*\(run_2, run_10\)"):
        Recording(folder)
    write_mcap(folder / "own.mcap", content)
    found, recording = read(folder)
    assert found == content
    assert said(recording, "what lies in folders below it is not read (run_2, run_10)")


def test_many_files_need_few_handles(folder, content):
    """A topic with log time 0 in every file makes all of them overlap; none is held open while it waits."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    size = 40
    for number in range(size):
        odd = [("/tf_static", 0, content[0][2]), *content[number % 7 : number % 7 + 2]]
        write_mcap(folder / f"{number}.mcap", odd)
    highest = max(int(name) for name in os.listdir("/dev/fd"))  # what others left open in this process
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, highest + 20), hard))
    try:
        found, _ = read(folder)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert [event[1] for event in found] == sorted(event[1] for event in found)


def test_hidden_files_are_other_programs(folder, content):
    """macOS lays one beside each file that it copies."""
    write_mcap(folder / "bag.mcap", content)
    (folder / "._bag.mcap").write_bytes(b"\0\5\x16\7\0\2\0\0Mac OS X        ")
    found, recording = read(folder)
    assert found == content
    assert recording.problems == []
    listed(folder, ["bag.mcap"])
    assert read(folder)[1].problems == []


def test_a_renamed_file_is_a_note_where_all_is_there(folder, content):
    write_mcap(folder / "renamed.mcap", content)
    listed(folder, ["bag.mcap"], topics_with_message_count=counted({"/notes": 6}))
    found, recording = read(folder)
    assert found == content
    assert recording.problems == []
    assert said(recording, "lists files that are not there: bag.mcap; the others hold all messages that it counts")
    listed(folder, ["bag.mcap"], topics_with_message_count=counted({"/notes": 7}))
    assert any("lists files that are not there: bag.mcap" in problem for problem in read(folder)[1].problems)
    listed(folder, ["bag.mcap"])  # nothing tells how much there was
    assert any("lists files that are not there: bag.mcap" in problem for problem in read(folder)[1].problems)


def test_a_recording_without_messages_or_types_says_so(tmp_path, content):
    path = write_mcap(tmp_path / "bag.mcap", content)
    with Recording(path) as recording:
        recording.check_content()
    (tmp_path / "head.mcap").write_bytes(path.read_bytes()[:60])
    words = r"nothing was recorded in .*head.mcap: .*cut off or damaged at byte"
    with Recording(tmp_path / "head.mcap") as recording, pytest.raises(BagError, match=words):
        recording.check_content()
    with (tmp_path / "bare.mcap").open("wb") as file:
        writer = McapWriter(file)
        writer.start(profile="ros2")
        channel = writer.register_channel(topic="/left/image_raw", message_encoding="cdr", schema_id=0)
        writer.add_message(channel_id=channel, log_time=1, publish_time=1, data=content[-1][2])
        writer.finish()
    words = r"the types of its topics are missing \(/left/image_raw\): they have no schemas"
    with Recording(tmp_path / "bare.mcap") as recording, pytest.raises(BagError, match=words):
        recording.check_content()
