# SPDX-License-Identifier: Apache-2.0
"""Writes the scenes of a data set as shards of about equal size, in an order that mixes scenes."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import webdataset
from tqdm import tqdm

from da3_training.data.records import BrokenSampleError, ViewRecord
from da3_training.data.stored_labels import SUMMARY, label_path, read_label
from da3_training.datasets.registry import SceneSet
from da3_training.shards.codec import encode_record, smaller
from da3_training.shards.index import INDEX, ShardSet

BROKEN = "broken.txt"


@dataclass(frozen=True)
class ShardOptions:
    """How records are packed."""

    megabytes: float = 500.0
    """Size of a shard; the last one is smaller."""
    views: int = 24
    """Most views of a sample, among which training chooses; longer clusters are cut."""
    longest: int = 0
    """Longest side of stored images; 0: as they are."""
    labels: str = ""
    """Folder of teacher labels to store beside the set's own depth."""
    seed: int = 0
    """Of the order of the scenes: neighbours in a shard should not be neighbours in the world."""


@dataclass
class _Shard:
    name: str
    samples: int = 0
    bytes: int = 0


@dataclass
class ShardReport:
    """What was written."""

    shards: int = 0
    samples: int = 0
    views: int = 0
    most_views: int = 0
    """Views of the largest sample."""
    most_labelled: int = 0
    """Views with a label of the sample that has most of them."""
    broken: list[str] = field(default_factory=list)
    """Views and scenes that were left out."""


def write_shards(scenes: SceneSet, out: Path, options: ShardOptions) -> ShardReport:
    """Pack all scenes into ``out/NNNNNN.tar`` and ``out/index.json``; broken views are left out and named.

    The folder appears when it is complete. Raises ValueError where it exists, and for a folder of labels without any.
    """
    if out.exists():
        raise ValueError(f"{out} exists: remove it, or write to another folder")
    labels = Path(options.labels) if options.labels else None
    if labels is not None and not (labels / SUMMARY).is_file():
        raise ValueError(f"{labels} holds no labels: run `da3-train label` first")
    part = out.with_name(out.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    report, shards = ShardReport(), list[_Shard]()
    writer: webdataset.TarWriter | None = None
    order = np.random.default_rng(options.seed).permutation(len(scenes))
    for index in tqdm(order, unit="scene", desc=f"shards of {scenes.dataset}"):
        try:
            clusters = scenes[int(index)]
        except BrokenSampleError as error:
            report.broken.append(str(error))
            continue
        for c, cluster in enumerate(clusters):
            for start in range(0, len(cluster.views), options.views):
                files = _sample(cluster.kind, cluster.views[start : start + options.views], labels, options, report)
                if files is None:
                    continue
                if writer is None or shards[-1].bytes >= options.megabytes * 1e6:
                    if writer is not None:
                        writer.close()
                    shards.append(_Shard(f"{len(shards):06d}.tar"))
                    writer = webdataset.TarWriter(str(part / shards[-1].name), encoder=False, mtime=0.0)
                name = scenes.name(int(index)).replace(".", "-").replace("/", "+")
                shards[-1].bytes += writer.write({"__key__": f"{name}+{c:02d}_{start:05d}", **files})
                shards[-1].samples += 1
    if writer is None:
        raise ValueError(f"{scenes.root} gives no sample: {report.broken[:3]}")
    writer.close()
    (part / BROKEN).write_text("".join(f"{line}\n" for line in report.broken))
    listed = [{"name": s.name, "samples": s.samples} for s in shards]
    index_content = {
        "version": 1,
        "dataset": scenes.dataset,
        "labelled": labels is not None,
        "most_views": {"all": report.most_views, "labelled": report.most_labelled},
        "shards": listed,
    }
    (part / INDEX).write_text(json.dumps(index_content, indent=1))
    os.replace(part, out)
    written = ShardSet(str(out))
    report.shards, report.samples = len(written.shards), len(written)
    return report


def _sample(
    kind: str, views: tuple[ViewRecord, ...], labels: Path | None, options: ShardOptions, report: ShardReport
) -> dict[str, bytes] | None:
    files: dict[str, bytes] = {}
    entries: list[dict[str, Any]] = []
    for view in views:
        try:
            record = view.load()
            label = None
            if labels is not None and label_path(labels, view.key).is_file():
                own = record._replace(depth=read_label(label_path(labels, view.key), record.depth.shape))
                label = smaller(own, options.longest).depth
        except BrokenSampleError as error:
            report.broken.append(str(error))
            continue
        small = smaller(record, options.longest)
        is_jpeg = small is record and view.image_path.suffix.lower() in (".jpg", ".jpeg")
        image = view.image_path.read_bytes() if is_jpeg else None
        stored, entry = encode_record(small, view.key, len(entries), image, label)
        files.update(stored)
        entries.append(entry)
    if not entries:
        return None
    report.views += len(entries)
    report.most_views = max(report.most_views, len(entries))
    report.most_labelled = max(report.most_labelled, sum("label" in entry for entry in entries))
    return {"json": json.dumps({"kind": kind, "views": entries}).encode(), **files}
