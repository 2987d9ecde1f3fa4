# SPDX-License-Identifier: Apache-2.0
"""Where it is shown: what each place needs, and what is said where that is missing."""

import socket
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest

from da3_ros.stream.viewing import CONNECT, ViewerParameters, what_address
from da3_ros.viewer import ViewerError, open_stream, require_rerun
from da3_ros.viewer.places import answers, page

NOBODY = "rerun+http://127.0.0.1:{}/proxy"


@pytest.fixture
def port():
    """One that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def blueprint(rr):
    return rr.blueprint.Blueprint()


@pytest.mark.parametrize(
    ("mode", "good", "bad"),
    [
        (
            "connect",
            ["", CONNECT, "rerun://host/proxy"],
            ["http://host:9876/proxy", "host", "rerun://host", "rerun://:x/proxy"],
        ),
        ("serve", ["", "8080"], ["0", "65535", "70000", "web", "-1"]),
        ("spawn", ["", "9877"], ["x"]),
        ("save", ["a.rrd", "/tmp/b.rrd"], ["", "a.mcap"]),
        ("none", ["", "whatever"], []),
    ],
)
def test_addresses(mode, good, bad):
    assert [address for address in good if what_address(mode, address)] == []
    assert [address for address in bad if not what_address(mode, address)] == []


def test_no_sdk(monkeypatch):
    monkeypatch.setitem(sys.modules, "rerun", None)
    with pytest.raises(ViewerError, match=r"not installed .*pip install rerun-sdk"):
        require_rerun()
    with pytest.raises(ViewerError, match="not installed"):
        open_stream(ViewerParameters("save", "a.rrd"), blueprint, lambda text: None)


def test_an_sdk_that_is_too_old(monkeypatch):
    monkeypatch.setitem(sys.modules, "rerun", SimpleNamespace(__version__="0.20.0"))
    with pytest.raises(ViewerError, match=r"0\.20\.0 knows no named frames: `pip install --upgrade rerun-sdk`"):
        require_rerun()


def test_nobody_to_connect_to(port):
    pytest.importorskip("rerun")
    with pytest.raises(ViewerError, match=f"no viewer answers at rerun.*{port}/proxy: start `rerun` there"):
        open_stream(ViewerParameters("connect", NOBODY.format(port)), blueprint, lambda text: None)


def test_no_screen_to_start_a_viewer_on(monkeypatch):
    pytest.importorskip("rerun")
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "WAYLAND_SOCKET"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    with pytest.raises(ViewerError, match=r"no screen to start a viewer on .* serve it, connect .*, or save a file"):
        open_stream(ViewerParameters("spawn"), blueprint, lambda text: None)


def test_a_port_that_is_taken():
    pytest.importorskip("rerun")
    with socket.socket() as other:
        other.bind(("0.0.0.0", 0))
        other.listen()
        taken = other.getsockname()[1]
        with pytest.raises(ViewerError, match=f"port {taken} is taken by another program: name another port"):
            open_stream(ViewerParameters("serve", str(taken)), blueprint, lambda text: None)


def test_a_folder_that_cannot_be_written(tmp_path):
    pytest.importorskip("rerun")
    (tmp_path / "file").touch()
    with pytest.raises(ViewerError, match="Rerun cannot save: "):
        open_stream(ViewerParameters("save", str(tmp_path / "file" / "a.rrd")), blueprint, lambda text: None)
    (tmp_path / "folder.rrd").mkdir()
    with pytest.raises(ViewerError, match=r"folder\.rrd is a folder: name a file"):
        open_stream(ViewerParameters("save", str(tmp_path / "folder.rrd")), blueprint, lambda text: None)


PROGRAM = """
import resource, sys, time
import numpy as np
from da3_ros.stream.viewing import ViewerParameters
from da3_ros.viewer import places
from da3_ros.viewer.places import end, finish, open_stream
mode, address = sys.argv[1:]
places.TURN_S = 0.3
if mode == "save":
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
where = ViewerParameters(mode, address)
rr, stream = open_stream(where, lambda rr: rr.blueprint.Blueprint(), lambda text: None)
for number in range(40):
    stream.log("a", rr.Points3D(np.random.rand(2000, 3)))
try:
    if mode == "save":
        finish(where, stream, print)
    else:
        print("hangs:", end(stream, 0.5).is_alive())
except RuntimeError as error:
    print("error:", error)
"""


def run(*arguments):
    command = [sys.executable, "-c", PROGRAM, *arguments]
    found = subprocess.run(command, capture_output=True, text=True, timeout=50, check=False)
    assert found.returncode == 0, found.stderr
    return found.stdout


def test_a_file_that_there_is_no_room_for_is_said(tmp_path):
    """By the limit of a process, in place of a disk's. The SDK tells nobody, and has been seen to wait for ever."""
    pytest.importorskip("rerun")
    path = tmp_path / "a.rrd"
    said = run("save", str(path))
    assert f"error: {path} is not written any more (" in said
    assert "is there space left?" in said


def test_a_viewer_that_hangs_does_not_keep_the_process(port):
    """It is connected to by the kernel, and never answers: the SDK waits for it, also when Python ends."""
    pytest.importorskip("rerun")
    with socket.create_server(("127.0.0.1", port)):
        begin = time.monotonic()
        assert run("connect", NOBODY.format(port)) == "hangs: True\n"
        assert time.monotonic() - begin < 45


def test_served_to_a_browser(port):
    """Data by gRPC at one port, the page of the web viewer at another."""
    pytest.importorskip("rerun")
    from urllib.request import urlopen

    said = []
    rr, stream = open_stream(ViewerParameters("serve", str(port)), blueprint, said.append)
    try:
        stream.log("a", rr.TextLog("hello"))
        with urlopen(f"http://127.0.0.1:{port}/", timeout=20) as answer:
            assert b"<html" in answer.read().lower()
        with socket.create_connection(("127.0.0.1", port + 1), timeout=20):
            pass
    finally:
        stream.disconnect()
    (text,) = said
    assert page(socket.gethostname(), port, port + 1) in text
    assert page("robot", 9090, 9876) == "http://robot:9090/?url=rerun%2Bhttp%3A%2F%2Frobot%3A9876%2Fproxy"


def test_whether_somebody_answers(port):
    where = ViewerParameters("connect", NOBODY.format(port))
    assert not answers(where)
    assert not answers(ViewerParameters("spawn", str(port)))
    assert answers(ViewerParameters("save", "a.rrd"))
    with socket.create_server(("127.0.0.1", port)):
        assert answers(where)
