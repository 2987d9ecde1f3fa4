# SPDX-License-Identifier: Apache-2.0
"""Fetching a checkpoint from the model hub."""

from __future__ import annotations

import re
from pathlib import Path

ALLOWED = ("*.safetensors", "config.json")
"""The files of a repository that are ever fetched: weights that cannot hold code, and the configuration."""


class HubError(OSError):
    """A repository that could not be fetched; the message says which, why, and what to do."""


def is_hub_id(text: str) -> bool:
    """Whether `text` has the form ``organisation/name`` of a hub repository."""
    return re.fullmatch(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", text) is not None


def fetch_snapshot(repository: str, revision: str | None = None) -> Path:
    """Folder of the hub's cache with the weights and the configuration of `repository`, fetched if need be.

    Without a network the cached files are used, if they are there. Raises HubError otherwise.
    """
    try:
        import huggingface_hub
    except ImportError as error:
        raise HubError(
            f"{repository} is no folder here, and to fetch it from the hub the package huggingface_hub is needed: "
            "pip install huggingface_hub"
        ) from error
    try:
        path = huggingface_hub.snapshot_download(repository, revision=revision, allow_patterns=list(ALLOWED))
    # Its errors have no common base: HTTP, connection, cache and validation errors.
    except Exception as error:
        at = f" at {revision}" if revision else ""
        raise HubError(
            f"{repository}{at} is no folder here and could not be fetched from the hub ({type(error).__name__}: "
            f"{str(error).strip().splitlines()[0] if str(error).strip() else 'no details'}): check the name and the "
            "connection, or copy model.safetensors and config.json to a folder and give that"
        ) from error
    return Path(path)
