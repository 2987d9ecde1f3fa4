# SPDX-License-Identifier: Apache-2.0
"""Whether and where what the node sees is shown in Rerun: its parameters. What shows it is `da3_ros.viewer`."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlparse

from da3_ros.stream.reading import Reader
from da3_ros.stream.specs import VIEWERS

CONNECT = "rerun+http://127.0.0.1:9876/proxy"
"""Where a viewer on this machine takes data."""
SCHEMES = ("rerun", "rerun+http", "rerun+https")


@dataclass(frozen=True)
class ViewerParameters:
    """What is shown in Rerun, and where."""

    mode: str = "none"
    """``none``, ``spawn`` (a viewer is started), ``connect`` (to one that runs), ``serve`` (to browsers), ``save``."""
    address: str = ""
    """URL (``connect``), file (``save``) or port; empty: what Rerun takes by itself."""
    rate: float = 5.0
    """Sets a second, at most."""
    size: int = 480
    """Longest side in pixels; 0: no limit."""


def what_address(mode: str, address: str) -> str:
    """What the address of a mode has to be; empty where it is that."""
    if mode == "save":
        return "" if address.endswith(".rrd") else "a file whose name ends in .rrd"
    if mode == "none" or not address:
        return ""
    if mode == "connect":
        try:
            url = urlparse(address)
            good = url.scheme in SCHEMES and bool(url.hostname) and url.path == "/proxy" and url.port != 0
        except ValueError:
            good = False
        return "" if good else f"a URL such as {CONNECT}, or nothing for that"
    good = address.isdecimal() and 0 < int(address) < 65535
    return "" if good else "a port, or nothing for Rerun's own"


def read_viewer(reader: Reader) -> ViewerParameters:
    """The node's parameters of it."""
    mode, address = reader.choice("viewer.mode", VIEWERS), reader.text("viewer.address", empty=True, number=True)
    if allowed := what_address(mode, address):
        reader.refuse("viewer.address", address, f"{allowed}, where viewer.mode is {mode}")
    size = reader.whole("viewer.size", 0)
    if 0 < size < 64:
        reader.refuse("viewer.size", size, "0, or pixels >= 64")
    return ViewerParameters(mode, address, reader.number("viewer.rate", 0, above=True), size)
