# SPDX-License-Identifier: Apache-2.0
"""The fit of depth to samples beside grids and loops, and the sentences that it says."""

import numpy as np
import pytest

from da3_ros.estimation import View
from da3_ros.estimation.preprocess import prepare
from da3_ros.estimation.scale import fit as module
from da3_ros.estimation.scale.fit import (
    cell_weights,
    contradiction,
    fit_depth,
    fit_samples,
    fit_scale,
    sample_depth,
    weighted_median,
)
from da3_ros.estimation.scale.rig import SparseDepth
from da3_ros.geometry.alignment import AlignmentError

IMAGE = np.zeros((90, 120, 3), np.uint8)
NO_POINTS = SparseDepth.empty()


def points(depth, pixels=None, **counts):
    depth = np.asarray(depth, float)
    pixels = np.random.default_rng(0).uniform((0, 0), (119, 89), (len(depth), 2)) if pixels is None else pixels
    return SparseDepth(np.asarray(pixels, float), depth, np.full(len(depth), 0.02), **counts)


def fitted(source, samples, depth=None, fit="scale", least=20, **options):
    views = tuple(View(IMAGE, name=f"v{i}") for i in range(len(samples)))
    prepared = prepare(views, 126, 14)
    shape = prepared.images.shape[:3]
    depth = np.ones(shape, np.float32) if depth is None else np.broadcast_to(depth, shape).astype(np.float32)
    return fit_samples(source, views, prepared, depth, samples, fit, least, **options)


@pytest.mark.parametrize(("source", "text"), [
    ("reference", "5 points of the reference lie in the images, 20 are needed: check its transform and that it sees "
                  "what the cameras see"),
    ("rig", "5 points could be triangulated between the cameras, 20 are needed: more overlap, texture or light"),
    ("odometry", "5 points could be triangulated between the frames of the window, 20 are needed: more motion, "
                 "texture or light"),
])  # fmt: skip
def test_too_few_samples_are_said_with_what_to_do(source, text):
    found = fitted(source, [points([2.0] * 3), points([2.0] * 2)])
    assert (found.source, found.metric, found.message) == ("none", False, text)


def test_as_many_samples_as_are_needed_are_enough():
    for count in (19, 20):
        assert fitted("reference", [points(np.full(count, 4.0))]).metric is (count == 20)


SWAPPED = (
    "the transforms put 25 matches behind the cameras: two of them are swapped, or their frames are no optical ones (x "
    "right, y down, z forward)"
)
FAR = "the transforms put 25 matches beyond 100 m: is all that far, or are translations in millimetres?"
UNSURE = (
    "25 matches are too far away for what lies between these views, one pixel changes their depth by more than a "
    "fifth: a wider baseline, or another reference (scale.depth_topic, scale.points_topic)"
)


@pytest.mark.parametrize(("counts", "text"), [
    ({"behind": 25}, SWAPPED), ({"far": 25}, FAR), ({"unsure": 25}, UNSURE), ({"behind": 25, "unsure": 99}, SWAPPED),
    ({"behind": 25, "far": 25}, "more overlap, texture or light"), ({"behind": 20}, SWAPPED.replace("25", "20")),
    ({"behind": 19}, "more overlap, texture or light"), ({"far": 20}, FAR.replace("25", "20")),
    ({"unsure": 20}, UNSURE.replace("25", "20")), ({"unsure": 19}, "more overlap, texture or light"),
    ({"far": 19}, "more overlap, texture or light"),
])  # fmt: skip
def test_what_is_wrong_with_the_transforms_is_said_instead(counts, text):
    """Every match is counted in both views."""
    found = fitted("rig", [points([], **counts), points([], **counts)])
    assert found.message == f"0 points could be triangulated between the cameras, 20 are needed: {text}"


@pytest.mark.parametrize(("behind", "far", "found", "is_wrong"), [
    (30, 10, 19, True), (30, 10, 20, False), (10, 30, 19, True), (10, 30, 20, False), (0, 0, 50, False),
])  # fmt: skip
def test_transforms_are_wrong_where_they_put_most_matches_where_nothing_is(behind, far, found, is_wrong):
    sparse = [points(np.ones(found), behind=behind, far=far)] * 2
    assert bool(contradiction(sparse, 8)) is is_wrong
    assert ("behind" in contradiction(sparse, 8)) is (is_wrong and behind > far)


def test_depth_is_looked_up_at_the_nearest_pixel_of_the_content():
    """By hand: 4 columns and 3 rows of a larger map for an image of 40 x 30 pixels."""
    depth = np.arange(30, dtype=np.float32).reshape(5, 6)
    pixels = [[0, 0], [9.4, 9.4], [9.6, 9.4], [9.4, 9.6], [39.4, 29.4], [29, 15], [-4, 44], [60, -2]]
    found = sample_depth(depth, (3, 4), (30, 40), points(np.ones(8), pixels))
    assert found.tolist() == [0, 0, 1, 6, 15, 8, 12, 3]
    assert found.dtype == np.float64


def test_each_cell_with_samples_weighs_one():
    """Eight cells over the width, square ones; by counting."""
    pixels = np.random.default_rng(1).uniform((0, 0), (639, 479), (200, 2))
    cells = [(int(u // 80), int(v // 80)) for u, v in pixels]
    np.testing.assert_allclose(cell_weights(pixels, 640), [1 / cells.count(cell) for cell in cells])


def test_the_weighted_median_is_the_value_at_which_half_of_the_weight_is_reached():
    assert weighted_median(np.array([5.0, 1, 3]), np.array([1.0, 1, 1])) == 3
    assert weighted_median(np.array([5.0, 1, 3]), np.array([5.0, 1, 1])) == 5
    assert weighted_median(np.array([5.0, 1, 3]), np.array([1.0, 1, 2])) == 3
    assert weighted_median(np.array([4.0, 2]), np.array([1.0, 1])) == 2
    assert weighted_median(np.array([7.0]), np.array([0.1])) == 7


@pytest.mark.parametrize("seed", range(4))
def test_the_scale_has_the_least_weighted_relative_error(seed):
    rng = np.random.default_rng(seed)
    metric = rng.uniform(1, 9, 120)
    relative = metric / 3 * np.exp(rng.normal(0, 0.2, 120))
    weights = rng.uniform(0.1, 2, 120)
    found = fit_scale(relative, metric, weights)
    assert found.inliers.all()
    grid = np.linspace(2, 4, 4001)
    loss = (np.abs(grid[:, None] * relative / metric - 1) * weights).sum(axis=1)
    assert found.scale == pytest.approx(grid[loss.argmin()], abs=0.003)
    error = np.abs(found.scale * relative / metric - 1)
    order = np.argsort(error)
    half = np.searchsorted(np.cumsum(weights[order]), weights.sum() / 2)
    assert found.residual == pytest.approx(error[order][half])


@pytest.mark.parametrize("bad", [np.nan, np.inf, 0.0, -1.0])
@pytest.mark.parametrize("which", ["relative", "metric"])
def test_samples_that_are_no_depth_do_not_count(bad, which):
    given = {"relative": np.full(12, 2.0), "metric": np.full(12, 6.0)}
    given[which][:4] = bad
    for weights in (np.ones(12), np.r_[np.full(4, 100.0), np.ones(8)]):
        found = fit_scale(given["relative"], given["metric"], weights)
        assert (found.scale, found.inliers.tolist()) == (3.0, [False] * 4 + [True] * 8)
    given[which][4] = bad
    with pytest.raises(AlignmentError, match=r"^7 valid samples are too few to fix a scale, 8 are needed$"):
        fit_scale(given["relative"], given["metric"], np.ones(12))


@pytest.mark.parametrize(("factor", "counts"), [(1.9, True), (2.1, False), (1 / 1.9, True), (1 / 2.1, False)])
def test_a_sample_twice_off_the_others_is_wrong(factor, counts):
    metric = np.full(40, 6.0)
    metric[:3] *= factor
    found = fit_scale(np.full(40, 2.0), metric, np.ones(40))
    assert found.inliers[:3].all() == counts
    assert found.inliers[3:].all()
    assert found.scale == 3.0


@pytest.mark.parametrize("count", [7, 8])
def test_eight_samples_must_agree(count):
    metric = np.r_[np.full(count, 6.0), np.geomspace(1e3, 1e9, 5), np.geomspace(1e-9, 1e-3, 5)]
    if count == 8:
        assert fit_scale(np.full(18, 2.0), metric, np.ones(18)).inliers.sum() == 8
    else:
        with pytest.raises(AlignmentError, match="7 of 17 samples agree on a scale, 8 are needed"):
            fit_scale(np.full(17, 2.0), metric, np.ones(17))


@pytest.mark.parametrize("seed", range(3))
def test_scale_and_shift_have_the_least_weighted_relative_error(seed):
    rng = np.random.default_rng(seed)
    metric = rng.uniform(1, 9, 150)
    relative = (metric - 0.5) / 3 * np.exp(rng.normal(0, 0.05, 150))
    weights = rng.uniform(0.2, 2, 150)
    start = fit_scale(relative, metric, weights)
    found = module._fit_affine(relative, metric, weights, start)

    def loss(scale, shift):
        """Errors below a hundredth count as their squares."""
        off = np.abs(scale * relative + shift - metric) / metric
        return (weights * np.where(off < 0.01, off**2 / 0.02 + 0.005, off)).sum()

    least = min(
        loss(found.scale * (1 + a), found.shift + b)
        for a in np.linspace(-0.1, 0.1, 41)
        for b in np.linspace(-0.2, 0.2, 41)
    )
    assert loss(found.scale, found.shift) <= least * (1 + 2e-3)
    off = np.abs(found.scale * relative + found.shift - metric) / metric
    assert found.residual == pytest.approx(weighted_median(off, weights))
    assert found.inliers.all()


@pytest.mark.parametrize("unit", [0.01, 100.0])
def test_the_unit_of_metric_depth_and_of_the_network_s_does_not_matter(unit):
    metric = np.random.default_rng(0).uniform(2, 6, 60)
    relative = (metric - 1) / 2
    weights = np.ones(60)
    for ours, theirs in ((1.0, unit), (unit, 1.0)):
        r, m = ours * relative, theirs * metric
        start = fit_scale(r, m, weights)
        assert start.inliers.all()
        assert start.scale == pytest.approx(fit_scale(relative, metric, weights).scale * theirs / ours)
        found = module._fit_affine(r, m, weights, start)
        assert (found.scale, found.shift) == (pytest.approx(2 * theirs / ours), pytest.approx(theirs))


def test_a_shift_is_not_found_from_samples_of_one_depth_or_of_few_that_agree():
    flat = fit_scale(np.full(30, 2.0), np.full(30, 6.0), np.ones(30))
    assert module._fit_affine(np.full(30, 2.0), np.full(30, 6.0), np.ones(30), flat) is None
    metric, weights = np.linspace(2, 6, 30), np.ones(30)
    upside = module._fit_affine(10 - metric, metric, weights, fit_scale(10 - metric, metric, weights))
    assert upside is None or upside.scale > 0  # never one that turns near and far over


def test_samples_that_are_no_depth_do_not_count_for_a_shift_either():
    metric = np.linspace(2, 6, 40)
    relative = (metric - 1) / 2
    for k, bad in enumerate((np.nan, np.inf, 0.0, -1.0)):
        relative[k] = bad
        metric[k + 4] = bad
    start = fit_scale(relative, metric, np.ones(40))
    found = module._fit_affine(relative, metric, np.ones(40), start)
    assert (found.scale, found.shift) == (pytest.approx(2), pytest.approx(1))
    assert found.inliers.tolist() == [False] * 8 + [True] * 32


@pytest.mark.parametrize(("shift", "noise", "is_fitted"), [(0.0, 0.05, False), (1.0, 0.02, True), (0.02, 0.05, False)])
def test_a_shift_must_gain_a_fifth_of_the_error(shift, noise, is_fitted):
    rng = np.random.default_rng(5)
    metric = rng.uniform(2, 6, 300)
    relative = (metric - shift) / 2 * (1 + noise * rng.normal(size=300))
    found = fit_depth(relative, metric, "auto", nearest=1.0)
    assert (found.shift != 0) is is_fitted
    plain = fit_depth(relative, metric, "scale")
    assert plain.shift == 0
    mean = [np.minimum(np.abs(a.scale * relative + a.shift - metric) / metric, 1)[plain.inliers].mean()
            for a in (module._fit_affine(relative, metric, np.ones(300), plain), plain)]  # fmt: skip
    assert bool(mean[0] < 0.8 * mean[1]) is is_fitted


@pytest.mark.parametrize(("nearest", "is_fitted"), [(0.79, False), (0.71, False), (0.8, True)])
def test_the_nearest_depth_with_a_shift_is_a_tenth_of_the_samples_at_least(nearest, is_fitted):
    """Half of them lie at 4 m or less: 0.4 m, and not at 0.39 m."""
    metric = np.linspace(2, 6, 301)
    relative = (metric + 1.2) / 2
    assert (fit_depth(relative, metric, "auto", nearest=nearest + 1e-6).shift != 0) is is_fitted


def test_what_is_nearest_is_a_fiftieth_of_what_is_known():
    depth = np.random.default_rng(0).uniform(1, 9, (2, 40, 60)).astype(np.float32)
    depth[0, :20] = np.nan
    depth[1, :4] = np.inf
    some = depth[:, ::4, ::4]
    assert module._nearest(depth) == pytest.approx(np.percentile(some[np.isfinite(some)], 2))
    assert module._nearest(np.full((1, 8, 8), np.nan, np.float32)) == 0.0


def slope():
    """Depth (90, 126) from 1 to 3 along the rows."""
    return np.linspace(1, 3, 126)[None] * np.ones((98, 1))


@pytest.mark.parametrize(("agree", "source", "is_metric"), [
    (0.59, "rig", False), (0.62, "rig", True), (0.3, "odometry", False), (0.3, "reference", True),
])  # fmt: skip
def test_few_matches_must_agree_with_the_network_on_what_is_nearer(monkeypatch, agree, source, is_metric):
    monkeypatch.setattr(module, "_order", lambda relative, metric: agree)
    found = fitted(source, [points(np.linspace(2, 3, 99))])
    assert found.metric is is_metric
    if not is_metric:
        assert found.message.endswith(
            f", but they and the network agree on what is nearer in {agree:.0%} of pairs, as chance would: the matches "
            "are ambiguous (repeated texture)"
        )
        assert found.message.startswith("99 points could be triangulated between the ")
    assert fitted(source, [points(np.linspace(2, 3, 100))]).metric  # chance makes no hundred


def test_the_order_by_counting_pairs():
    rng = np.random.default_rng(6)
    relative, metric = rng.uniform(1, 4, 30), rng.uniform(1, 4, 30)
    relative[:2], relative[2] = np.nan, -1.0
    same = [
        (relative[i] < relative[j]) == (metric[i] < metric[j])
        for i in range(3, 30)
        for j in range(i)
        if j >= 3 and abs(np.log(metric[i] / metric[j])) > 0.1
    ]
    assert len(same) > 60
    assert module._order(relative, metric) == pytest.approx(np.mean(same))


@pytest.mark.parametrize(("count", "told"), [(11, 1.0), (12, 0.0)])
def test_sixty_pairs_must_differ_to_tell_of_an_order(count, told):
    """Of eleven samples there are 55 pairs, of twelve 66."""
    metric = np.geomspace(1, 50, count)
    assert module._order(1 / metric, metric) == told
    assert module._order(1 / np.ones(count), np.full(count, 2.0)) == 1.0


def test_an_estimate_has_what_was_found():
    depth = np.full((1, 98, 126), 2.0)
    metric = np.r_[np.full(190, 6.0), np.full(10, 60.0)]
    found = fitted("reference", [points(metric)], depth)
    assert (found.source, found.value, found.shift, found.inliers, found.metric, found.message) == (
        "reference", 3.0, 0.0, 190, True, ""
    )  # fmt: skip
    assert found.residual == pytest.approx(0.0, abs=1e-6)
    none = fitted("reference", [points(np.geomspace(1e-6, 1e6, 30))])
    assert (none.source, none.metric) == ("none", False)
    assert none.message.startswith("reference: ")


@pytest.mark.parametrize(("count", "step"), [(4000, 1), (4001, 2), (9000, 3)])
def test_of_very_many_samples_some_are_taken(monkeypatch, count, step):
    seen = []
    fit = module.fit_depth
    monkeypatch.setattr(
        module, "fit_depth", lambda *given, **named: seen.append((given, named)) or fit(*given, **named)
    )
    metric = np.linspace(2, 6, count)
    fitted("reference", [points(metric)])
    ((relative, told, how, weights), named) = seen[0]
    np.testing.assert_array_equal(told, metric[::step])
    assert len(relative) == len(weights) == len(told)
    assert (how, named) == ("scale", {"nearest": 1.0})


@pytest.mark.parametrize(("share", "affine", "how"), [
    (0.37, False, "scale"), (0.43, False, "auto"), (0.17, True, "scale"), (0.23, True, "auto"), (0.37, True, "auto"),
])  # fmt: skip
def test_a_shift_asks_for_samples_in_many_cells(monkeypatch, share, affine, how):
    """Of the 48 of each image, 120 by 90 pixels."""
    seen = []
    fit = module.fit_depth
    monkeypatch.setattr(module, "fit_depth", lambda *given, **named: seen.append(given[2]) or fit(*given, **named))
    pixels = [(15 * c + 7, 15 * r + 7) for r in range(6) for c in range(8)][: round(48 * share)]
    samples = [points(np.full(3 * len(pixels), 4.0), np.repeat(pixels, 3, axis=0))] * 2
    fitted("reference", samples, fit="auto", affine=affine)
    assert seen == [how]
    fitted("reference", samples, fit="scale_shift", least=10_000)  # asked for: whatever there is
    assert seen == [how]
