# SPDX-License-Identifier: Apache-2.0
"""Where it is shown: a viewer that is started here, one that runs elsewhere, a web page, or a file for later."""

from __future__ import annotations

import os
import socket
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any
from urllib.parse import quote, urlparse

from da3_ros.stream.viewing import CONNECT, ViewerParameters
from da3_ros.viewer.errors import ViewerError, require_rerun

APPLICATION = "da3_ros"
PORT = 9876
"""Where Rerun's viewers and servers take data, unless told otherwise."""
WEB_PORT = 9090
TURN_S, FOR_EVER_S = 2.0, 1e9
"""So long may a file not grow that is not written yet; and a viewer take for what a slow network brings."""
LONG_S = 10.0
"""What takes longer is told of."""
_DISPLAYS = ("DISPLAY", "WAYLAND_DISPLAY", "WAYLAND_SOCKET")
Say = Callable[[str], None]


def open_stream(where: ViewerParameters, blueprint: Callable[[Any], Any], say: Say, name: str = "") -> tuple[Any, Any]:
    """The SDK, and a stream that is shown. Raises ViewerError where that cannot be.

    blueprint: makes Rerun's blueprint with the SDK. say: told where to look. name: of the recording.
    """
    rr = require_rerun()
    rr.set_strict_mode(True)  # what it cannot show it raises, and does not pass over
    stream = rr.RecordingStream(APPLICATION, recording_id=name or None)
    try:
        _MODES[where.mode](rr, stream, where.address, say)
        stream.send_blueprint(blueprint(rr))
    except ViewerError:
        raise
    except Exception as error:  # the SDK has no errors of its own
        raise ViewerError(f"Rerun cannot {where.mode}: {type(error).__name__}: {error}") from error
    return rr, stream


def check(where: ViewerParameters, stream: Any, timeout: float) -> None:
    """Wait until what was logged is handed over. Raises ViewerError where it is not within so many seconds, or never
    will be: the SDK itself says of neither a word to the program.
    """
    try:
        stream.flush(timeout_sec=timeout)
    except Exception as error:  # the SDK has no errors of its own
        if where.mode == "save":
            why = f"{where.address} is not written any more ({error}): is there space left?"
        else:
            why = f"the viewer takes nothing any more ({error}): it hangs, or the network to it is down"
        raise ViewerError(why) from error


def finish(where: ViewerParameters, stream: Any, say: Say) -> None:
    """Hand over all that was logged, and close the stream. Ctrl-C ends it, as it does not end the SDK's own waiting.
    Raises ViewerError where not all of it arrives.
    """
    outcome: SimpleQueue[ViewerError | None] = SimpleQueue()

    def work() -> None:
        try:
            if where.mode == "save":
                _written(where, stream)
            else:
                check(where, stream, FOR_EVER_S)
        except ViewerError as error:
            outcome.put(error)
        stream.disconnect()  # here, where it may wait: whoever drops a stream last does, too
        outcome.put(None)

    threading.Thread(target=work, name="da3 viewer's end", daemon=True).start()
    timeout = LONG_S
    while True:
        try:
            error = outcome.get(timeout=timeout)
            break
        except Empty:
            if timeout == LONG_S:
                say("not all of it is taken yet: Ctrl-C gives up")
            timeout = 1.0
    if error is not None:
        raise error


def _written(where: ViewerParameters, stream: Any) -> None:
    """`check` of a file, for as long as it grows."""
    before, path = -1, Path(where.address).expanduser()
    while True:
        try:
            return check(where, stream, TURN_S)
        except ViewerError:
            size = path.stat().st_size if path.exists() else 0
            if size <= before:
                raise
            before = size


def end(stream: Any, timeout: float) -> threading.Thread:
    """Close a stream, and wait so many seconds for that. The SDK waits for ever for a viewer that hangs, and cannot be
    interrupted: it is left to do so in the thread, which is returned, and does not keep the process alive.
    """
    thread = threading.Thread(target=stream.disconnect, name="da3 viewer's end", daemon=True)
    thread.start()
    thread.join(timeout)
    return thread


def answers(where: ViewerParameters) -> bool:
    """Whether somebody takes data there; the SDK does not tell. Of files and servers of our own always True."""
    if where.mode not in ("connect", "spawn"):
        return True
    url = urlparse(where.address if where.mode == "connect" and where.address else CONNECT)
    port = int(where.address) if where.mode == "spawn" and where.address else url.port or PORT
    try:
        with socket.create_connection((url.hostname or "127.0.0.1", port), timeout=1.0):
            return True
    except OSError:
        return False


def _spawn(rr: Any, stream: Any, address: str, say: Say) -> None:
    if sys.platform.startswith("linux") and not any(os.environ.get(name) for name in _DISPLAYS):
        raise ViewerError(
            f"there is no screen to start a viewer on ({' and '.join(_DISPLAYS[:2])} are not set): serve it, "
            "connect to a viewer elsewhere, or save a file"
        )
    # What belongs to this Python may not be on PATH, where the SDK looks for the viewer.
    folder = str(Path(sys.executable).parent)
    path = os.environ.get("PATH", "")
    if folder not in path.split(os.pathsep):
        os.environ["PATH"] = f"{path}{os.pathsep}{folder}"
    stream.spawn(port=int(address) if address else PORT)


def _connect(rr: Any, stream: Any, address: str, say: Say) -> None:
    url = address or CONNECT
    # The SDK would try for ever, and keep everything in the meantime.
    if not answers(ViewerParameters("connect", address)):
        raise ViewerError(f"no viewer answers at {url}: start `rerun` there")
    stream.connect_grpc(url)


def _serve(rr: Any, stream: Any, address: str, say: Say) -> None:
    web = int(address) if address else WEB_PORT
    port = web + 1 if address else PORT
    for each in (web, port):
        if not _is_free(each):
            raise ViewerError(f"port {each} is taken by another program: name another port to serve at")
    # Pages of this server only, by whatever name the machine is called.
    stream.serve_grpc(grpc_port=port, cors_allow_origin=[f"http://*:{web}"])
    rr.serve_web_viewer(web_port=web, open_browser=False)
    host = socket.gethostname()
    say(f"open {page(host, web, port)} in a browser (or the address of this machine in place of {host}, twice)")


def page(host: str, web: int, port: int) -> str:
    """Address of the web viewer on a machine."""
    return f"http://{host}:{web}/?url={quote(f'rerun+http://{host}:{port}/proxy', safe='')}"


def _save(rr: Any, stream: Any, address: str, say: Say) -> None:
    path = Path(address).expanduser()
    if path.is_dir():
        raise ViewerError(f"{path} is a folder: name a file")
    path.parent.mkdir(parents=True, exist_ok=True)
    stream.save(str(path))
    say(f"saving to {path}; look at it with `rerun {path}`")


def _is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("0.0.0.0", port))  # as the server will
        except OSError:
            return False
    return True


_MODES: dict[str, Callable[[Any, Any, str, Say], None]] = {
    "spawn": _spawn,
    "connect": _connect,
    "serve": _serve,
    "save": _save,
}
