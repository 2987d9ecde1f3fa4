# SPDX-License-Identifier: Apache-2.0
"""A fleet from and to an object store: a server on this machine that speaks S3's protocol."""

from needs import needs

needs("mcap", "rosbags", "scipy")

from pathlib import Path

import bags
import pytest

from da3_ros.bag.fleet.fleet import FleetOptions, make_tasks
from da3_ros.bag.fleet.task import process_bag
from da3_ros.bag.io import places
from da3_ros.bag.plan.options import Options, Request

INSTALL = "not installed: `make env EXTRAS=interop`"
REQUEST = Request(Path("-"), Path("-"), options=Options(pictures=1, segment_sets=2))


@pytest.fixture
def store(tmp_path, monkeypatch):
    """The file system of a bucket `depot`, as fsspec sees it."""
    server = pytest.importorskip("moto.server", reason=f"moto is {INSTALL}")
    s3fs = pytest.importorskip("s3fs", reason=f"s3fs is {INSTALL}")
    config = tmp_path / "aws"
    config.write_text("")
    for name, value in {
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_CONFIG_FILE": str(config),
        "AWS_EC2_METADATA_DISABLED": "true",
        "NO_PROXY": "127.0.0.1",
        "no_proxy": "127.0.0.1",
    }.items():
        monkeypatch.setenv(name, value)
    running = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    host, port = running.get_host_and_port()
    # What a user of another store than Amazon's sets, too.
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://{host}:{port}")
    s3fs.S3FileSystem.clear_instance_cache()
    system = s3fs.S3FileSystem()
    system.mkdir("depot")
    yield system
    system.rm("depot", recursive=True)  # the server's content outlives it
    s3fs.S3FileSystem.clear_instance_cache()
    running.stop()


def test_bags_come_from_and_go_to_an_object_store(bag, store, tmp_path):
    store.put(str(bag), "depot/in/rig", recursive=True)
    store.put(str(bag / "rig.mcap"), "depot/in/single.mcap")
    sources = places.find_bags(["s3://depot/in/*"])
    assert [(s.name, s.url) for s in sources] == [
        ("rig", "s3://depot/in/rig"),
        ("single", "s3://depot/in/single.mcap"),
    ]
    assert places.size(sources[1].url) == (bag / "rig.mcap").stat().st_size
    tasks = make_tasks(sources, "s3://depot/out", REQUEST, FleetOptions())
    results = [process_bag(task, bags.load_fake) for task in tasks]
    assert [(r.state, r.sets, r.before, r.error) for r in results] == [("done", 6, False, "")] * 2
    names = sorted(path.removeprefix("depot/out/") for path in store.find("depot/out/rig"))
    assert names == ["rig/metadata.yaml", "rig/rig_0.mcap", "rig/rig_1.mcap", "rig/rig_2.mcap"]
    store.get("depot/out/rig", str(tmp_path / "back"), recursive=True)
    found = tmp_path / "back"
    assert len(bags.messages(found, "/da3/left/depth/image_rect")) == 6
    assert b"<html" in store.cat("depot/out/rig.da3/report.html")
    assert [process_bag(task, bags.load_fake).before for task in tasks] == [True, True]


def test_what_is_not_there_is_said(store):
    from da3_ros.bag.errors import BagError

    with pytest.raises(BagError, match="s3://depot/nothing: no recording there"):
        places.find_bags(["s3://depot/nothing"])
    with pytest.raises(BagError, match=r"s3://depot/gone.mcap does not exist any more"):
        places.size("s3://depot/gone.mcap")


def test_an_output_that_shrinks_leaves_nothing_behind(bag, store):
    """A bag that is done anew in larger segments has fewer files: those of before must go."""
    import dataclasses

    store.put(str(bag), "depot/in/rig", recursive=True)
    (task,) = make_tasks(places.find_bags(["s3://depot/in/rig"]), "s3://depot/out", REQUEST, FleetOptions())
    assert process_bag(task, bags.load_fake).state == "done"
    larger = dataclasses.replace(REQUEST, options=Options(pictures=1, segment_sets=6))
    assert process_bag(dataclasses.replace(task, request=larger, restart=True), bags.load_fake).state == "done"
    assert sorted(store.find("depot/out/rig")) == ["depot/out/rig/metadata.yaml", "depot/out/rig/rig_0.mcap"]
