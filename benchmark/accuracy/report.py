# SPDX-License-Identifier: Apache-2.0
"""Scores of many sequences as numbers, and as tables beside the paper's figures."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from da3_ros.geometry.metrics import auc

THRESHOLDS = (3, 5, 30)
POSES = {"head": "camera head", "matches": "matches, known intrinsics", "still": "no motion"}


def merge(sequences: Iterable[Mapping[str, list[float]]]) -> dict[str, float]:
    """One number for each score: AUC over the pairs of all sequences, and means of everything else."""
    pooled: dict[str, list[float]] = defaultdict(list)
    count = 0
    for scores in sequences:
        count += 1
        for name, values in scores.items():
            pooled[name] += [value for value in values if np.isfinite(value)]
    out: dict[str, float] = {"sequences": count}
    for name, values in pooled.items():
        if name.startswith("pairs_"):
            errors = np.array(values).reshape(-1, 2)
            for threshold in THRESHOLDS:
                out[f"auc{threshold}_{name[6:]}"] = auc(errors, threshold)
            out[f"{name}_count"] = len(errors)
        elif values:
            out[name] = float(np.mean(values))
    return out


def merge_sources(
    sequences: Sequence[Mapping[str, list[float]]], sources: Sequence[str]
) -> dict[str, dict[str, float]]:
    """`merge` of each source by itself, by ``", SOURCE"``; then the mean over sources, where each weighs the same
    however many images it has, and at last, by ``""``, the merge of all.
    """
    rows = {
        f", {source}": merge([s for s, of in zip(sequences, sources, strict=True) if of == source])
        for source in sorted(set(sources))
    }
    everything = merge(sequences)
    means = {
        name: float(np.mean([row[name] for row in rows.values() if name in row]))
        for name in everything
        if not name.startswith(("auc", "pairs_"))
    }
    return {**rows, ", mean over sources": {**means, "sequences": everything["sequences"]}, "": everything}


def markdown(results: Mapping[str, Mapping[str, float]], paper: Mapping[str, Any], about: Mapping[str, str]) -> str:
    """The report as a page. results: scores by set; about: what was run, on what."""
    lines = ["# Accuracy", "", *[f"* {key}: {value}" for key, value in about.items()], ""]
    lines += _depth(results, paper.get("paper_mono", {}))
    lines += _poses(results, paper["paper"])
    lines += _surfaces(results, paper["paper"])
    lines += _novel_views(results)
    return "\n".join(lines) + "\n"


def _depth(results: Mapping[str, Mapping[str, float]], paper: Mapping[str, float]) -> list[str]:
    keys = [f"{score}_{way}" for way in ("scale", "affine", "constant") for score in ("absrel", "delta1")]
    rows = []
    for name, r in results.items():
        if keys[0] in r:
            scores = " | ".join(f"{r[key]:.3f}" for key in keys)
            published = _percent(paper.get(name.split()[0]))
            rows.append(f"| {name} | {r['sequences']:.0f} | {r['views']:.1f} | {scores} | {published} |")
    if not rows:
        return []
    return [
        "## Depth",
        "",
        "AbsRel and delta1 of all views of a sequence together, after one scale (ratio of medians), after scale and",
        "shift (least squares), and of a constant depth (the true median). Paper: delta1 of DA3's any-view network.",
        "",
        "| set | sequences | views | AbsRel | delta1 | affine AbsRel | delta1 | constant AbsRel | delta1 | paper |",
        "|---|---|---|---|---|---|---|---|---|---|",
        *rows,
        "",
    ]


def _percent(value: float | None) -> str:
    return "" if value is None else f"{value / 100:.3f}"


def _poses(results: Mapping[str, Mapping[str, float]], paper: Mapping[str, Any]) -> list[str]:
    rows = []
    for name, r in results.items():
        for key, title in POSES.items():
            if f"auc30_{key}" in r:
                scores = " | ".join(f"{r[f'auc{threshold}_{key}']:.3f}" for threshold in THRESHOLDS)
                rows.append(f"| {name} | {title} | {r[f'pairs_{key}_count']:.0f} | {scores} |")
        for model, figures in paper.get(name.split()[0], {}).items():
            rows.append(f"| {name} | paper, {model} | | {figures[0] / 100:.3f} | | {figures[1] / 100:.3f} |")
    if not rows:
        return []
    return [
        "## Poses",
        "",
        "AUC of the larger of rotation and translation-angle error over all pairs, as the published code has them.",
        "",
        "| set | poses from | pairs | AUC@3 | AUC@5 | AUC@30 |",
        "|---|---|---|---|---|---|",
        *rows,
        "",
    ]


def _surfaces(results: Mapping[str, Mapping[str, float]], paper: Mapping[str, Any]) -> list[str]:
    def cell(r: Mapping[str, float], key: str) -> str:
        return f"{r[key]:.3f}" if key in r else ""

    keys = ("f1_unposed", "chamfer_unposed", "f1_posed", "chamfer_posed", "f1_rig", "chamfer_rig", "consistency")
    rows = []
    for name, r in results.items():
        if any(key in r for key in keys):
            rows.append(f"| {name} | {' | '.join(cell(r, key) for key in keys)} |")
            for model, figures in paper.get(name.split()[0], {}).items():
                if figures[2] is not None:
                    rows.append(
                        f"| {name}, paper, {model} | {figures[2] / 100:.3f} | | {figures[3] / 100:.3f} | | | | |"
                    )
    if not rows:
        return []
    return [
        "## Reconstruction and consistency",
        "",
        "F1 and Chamfer distance (m) of the fused surface: cameras found by the network; cameras given to it, depth at",
        "the scale of its camera head (both as in the paper); and cameras known to the estimator, depth in its metres,",
        "as on a calibrated rig. Between views: the median relative difference of depth maps of one sequence, moved",
        "into each other by the true cameras.",
        "",
        "| set | F1 | Chamfer | F1, given | Chamfer | F1, rig | Chamfer | between views |",
        "|---|---|---|---|---|---|---|---|",
        *rows,
        "",
    ]


def _novel_views(results: Mapping[str, Mapping[str, float]]) -> list[str]:
    scores = ("psnr", "ssim", "lpips")
    rows = []
    for name, r in results.items():
        if "psnr_rendered" in r:
            counts = f"{r['sequences']:.0f} | {r['context']:.1f} | {r['targets']:.1f}"
            cells = [
                f"{r[f'{score}_{way}']:.{2 if score == 'psnr' else 3}f}" if f"{score}_{way}" in r else ""
                for way in ("rendered", "nearest", "measured")
                for score in scores
            ]
            rows.append(f"| {name} | {counts} | {' | '.join(cells)} | {r['covered']:.3f} |")
    if not rows:
        return []
    return [
        "## Novel views",
        "",
        "Gaussians of the context images, rendered at the true cameras of the images that were held out: PSNR (dB),",
        "SSIM and LPIPS (none where its weights are not there), beside those of the context image whose camera is",
        "nearest, taken as it is, and those of one Gaussian a pixel from the true depth of the context, rendered in",
        "the same way (none where a set has no depth). Covered: share of the pixels that Gaussians cover. The first",
        "say something of a model where its weights are trained; from seeded weights they say that the path works.",
        "",
        "| set | sequences | context | targets | PSNR | SSIM | LPIPS | nearest: PSNR | SSIM | LPIPS | true depth: PSNR "
        "| SSIM | LPIPS | covered |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|---|---|",
        *rows,
        "",
    ]
