# SPDX-License-Identifier: Apache-2.0
"""A set of shards: where they are and how many samples each has, which makes every position computable."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from da3_training.datasets.registry import DATASETS, DatasetInfo

INDEX = "index.json"


class ShardSet:
    """Shards in one folder, or below one URL that webdataset opens (http, https, gs, ...)."""

    dataset = "shards"

    def __init__(self, root: str) -> None:
        """Raises FileNotFoundError where there is no index, ValueError for one that cannot be read."""
        self.root = root.rstrip("/")
        try:
            if "://" in self.root:
                from webdataset.gopen import gopen  # machines that read shards from their own disk need none of it

                with gopen(self.path(INDEX)) as stream:
                    content = json.loads(stream.read())
            else:
                content = json.loads(Path(self.path(INDEX)).read_text())
            self.shards: list[str] = [entry["name"] for entry in content["shards"]]
            self.samples: list[int] = [int(entry["samples"]) for entry in content["shards"]]
            self.source, self.labelled = content["dataset"], bool(content["labelled"])
            most = content.get("most_views", {})  # shards of earlier versions do not tell
            self.most_views: int | None = most.get("all")
            """Views of the largest sample, None where that is not known."""
            self.most_labelled: int | None = most.get("labelled")
            """Views with a label of the sample that has most of them."""
        except OSError as error:
            raise FileNotFoundError(f"{self.path(INDEX)}: {error}; make shards with `da3-train shards`") from error
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{self.path(INDEX)} is no index of shards ({error!r}): write them again") from error
        self.info: DatasetInfo = DATASETS[self.source]

    def path(self, name: str) -> str:
        """Where a file of the set is."""
        return f"{self.root}/{name}"

    def __len__(self) -> int:
        """Number of samples."""
        return sum(self.samples)


class Order:
    """Which sample comes when in one of `streams` readers of a set, epoch after epoch, without end.

    In each epoch the shards come in another order. With at least as many shards as streams every stream has shards of
    its own; with fewer, all read the same shards and each takes every `streams`-th sample of them.
    """

    def __init__(self, counts: list[int], stream: int, streams: int, seed: tuple[int, ...]) -> None:
        """counts: samples of each shard."""
        self._counts, self._stream, self._streams, self._seed = counts, stream, streams, seed
        if sum(counts) < streams:
            raise ValueError(
                f"{sum(counts)} samples for {streams} readers (processes x workers): lower runtime.workers or write "
                "more samples"
            )

    def epoch(self, number: int) -> list[tuple[int, int]]:
        """(shard, sample within it) in the order in which they are read."""
        rng = np.random.default_rng((*self._seed, number))
        order = rng.permutation(len(self._counts)).tolist()
        if len(order) >= self._streams:
            return [(shard, i) for shard in order[self._stream :: self._streams] for i in range(self._counts[shard])]
        every = [(shard, i) for shard in order for i in range(self._counts[shard])]
        return every[self._stream :: self._streams]

    def locate(self, position: int) -> tuple[int, int]:
        """Epoch and place in it of the sample at `position` of the endless sequence."""
        number = 0
        while position >= (length := len(self.epoch(number))):
            position -= length
            number += 1
        return number, position
