# SPDX-License-Identifier: Apache-2.0
"""Chunks aligned into one trajectory and one scale, by arithmetic."""

from needs import needs

needs("mcap", "rosbags", "scipy")


import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from da3_ros.bag.motion.chunks import Chunk, ChunkView, read_chunk, write_chunk
from da3_ros.bag.motion.similarity import Similarities, Similarity, align
from da3_ros.bag.motion.trajectory import Edge, naive_sequence, sequence, shared_views, solve, write_tum
from da3_ros.estimation import ScaleEstimate
from da3_ros.geometry import CameraModel, umeyama
from da3_ros.geometry.poses import invert

CAMERA = CameraModel.pinhole(32, 24, 30.0, 30.0, 15.5, 11.5)
SETS = 60


def wall_depth(pose):
    """Depth of the inside of a sphere of 4 m around the origin."""
    u, v = np.meshgrid(np.arange(32), np.arange(24))
    rays = np.stack([(u - 15.5) / 30, (v - 11.5) / 30, np.ones_like(u)], -1) @ pose[:3, :3].T
    c = pose[:3, 3]
    a, b = (rays**2).sum(-1), rays @ c
    return ((-b + np.sqrt(b**2 - a * (c @ c - 16))) / a).astype(np.float32)


def circle(number):
    """T_world_camera of a camera that walks around 1 m from the middle and looks outward."""
    angle = 2 * np.pi * number / SETS
    pose = np.eye(4)
    pose[:3, :3] = Rotation.from_euler("y", -angle).as_matrix()
    pose[:3, 3] = [np.sin(-angle), 0.02 * np.sin(3 * angle), np.cos(angle)]
    return pose


def make_chunk(rng, numbers, scale, *, track=0, metric=False, noise=0.0, outliers=0.0):
    """The circle's sets in the frame of the first one, in a unit of `scale` metres."""
    first = invert(circle(numbers[0]))
    views = []
    for number in numbers:
        pose = first @ circle(number)
        pose[:3, 3] = (pose[:3, 3] + noise * 0.2 * rng.normal(size=3)) / scale
        pose[:3, :3] = pose[:3, :3] @ Rotation.from_rotvec(noise * 0.1 * rng.normal(size=3)).as_matrix()
        depth = wall_depth(circle(number)) / np.float32(scale) * (1 + noise * rng.normal(size=(24, 32)))
        bad = rng.random(depth.shape) < outliers
        depth = np.where(bad, depth * rng.uniform(0.3, 3, depth.shape), depth).astype(np.float32)
        depth[0, 0] = np.nan
        # Where depth is wrong the network is less sure.
        confidence = np.where(bad, 1.2, 3.0).astype(np.float32)
        views.append(ChunkView((number, "cam"), 10**9 + number, depth, confidence, CAMERA, pose, True))
    source = ScaleEstimate("rig", metric=True) if metric else ScaleEstimate("none")
    return Chunk(track, tuple(views), {}, False, source, {})


def chunks_of(rng, **options):
    scales = rng.uniform(0.5, 2, 40)
    starts = range(0, SETS - 8 + 1, 4)
    return [make_chunk(rng, range(s, s + 8), scales[k], **options) for k, s in enumerate(starts)], scales


def error(trajectory):
    """Absolute trajectory error in metres after a similarity."""
    numbers = sorted(trajectory.bodies)
    found = np.stack([trajectory.bodies[n][:3, 3] for n in numbers])
    truth = np.stack([circle(n)[:3, 3] for n in numbers])
    s, R, t = umeyama(found, truth)
    return float(np.sqrt((((s * found @ R.T + t) - truth) ** 2).sum(1).mean()))


def random_similarity(rng):
    return Similarity(float(np.exp(rng.normal())), Rotation.random(random_state=1).as_matrix(), rng.normal(size=3))


def test_similarities_are_a_group():
    rng = np.random.default_rng(0)
    a, b = random_similarity(rng), random_similarity(rng)
    points = rng.normal(size=(5, 3))
    np.testing.assert_allclose((a @ b).points(points), a.points(b.points(points)), atol=1e-12)
    np.testing.assert_allclose(a.inverse().points(a.points(points)), points, atol=1e-12)
    np.testing.assert_allclose(Similarity.from_vector(a.vector()).points(points), a.points(points), atol=1e-12)
    many = Similarities.of([a, b])
    both = (many @ many[np.array([1, 0])].inverse()).vectors()
    np.testing.assert_allclose(both[0], (a @ b.inverse()).vector(), atol=1e-9)


@pytest.mark.parametrize(("noise", "outliers", "tolerance"), [(0, 0, 1e-4), (0.03, 0.0, 0.02), (0.03, 0.3, 0.03)])
def test_chunks_are_aligned_by_what_they_share(noise, outliers, tolerance):
    rng = np.random.default_rng(1)
    a = make_chunk(rng, range(8), 1.7, noise=noise, outliers=outliers)
    b = make_chunk(rng, range(4, 12), 0.6, noise=noise, outliers=outliers)
    shared = shared_views(a, b)
    assert len(shared) == 4
    found = align(shared)
    truth = (
        Similarity(1 / 1.7, np.eye(3), np.zeros(3))
        @ Similarity.rigid(invert(circle(0)) @ circle(4))
        @ Similarity(0.6, np.eye(3), np.zeros(3))
    )
    gap = (truth.inverse() @ found).vector()
    assert np.abs(gap[3:]).max() < tolerance  # rotation, and scale
    assert np.abs(gap[:3]).max() < tolerance * 4 / 0.6
    with pytest.raises(ValueError, match="without a common view"):
        align([])


def test_alignment_keeps_what_naive_chaining_loses():
    rng = np.random.default_rng(2)
    chunks, scales = chunks_of(rng, noise=0.01, outliers=0.1)
    aligned, naive = solve(chunks, sequence(chunks)), solve(chunks, naive_sequence(chunks))
    assert error(aligned) < 0.1 * error(naive)
    assert sorted(aligned.bodies) == list(range(SETS))
    # One unit: that of the first chunk.
    np.testing.assert_allclose([c.scale for c in aligned.chunks], scales[: len(chunks)] / scales[0], rtol=0.1)
    assert not aligned.metric
    assert aligned.drift > 2


def test_loops_take_the_drift_away_and_wrong_ones_do_no_harm():
    rng = np.random.default_rng(3)
    chunks, _ = chunks_of(rng, noise=0.08, outliers=0.2)
    edges = sequence(chunks)
    last = len(chunks) - 1
    # The last chunk sees what the first one sees.
    truth = Similarity.rigid(invert(circle(0)) @ circle(4 * last))
    one, other = chunks[0], chunks[last]
    scale_0 = float(np.nanmedian(wall_depth(circle(0)) / one.views[0].depth))
    scale_1 = float(np.nanmedian(wall_depth(circle(4 * last)) / other.views[0].depth))
    S = Similarity(1 / scale_0, np.eye(3), np.zeros(3)) @ truth @ Similarity(scale_1, np.eye(3), np.zeros(3))
    loop = Edge(0, last, S, (0.01, np.radians(0.3), 0.02), doubtful=True)
    wrong = Edge(2, last - 3, Similarity(1.0, np.eye(3), np.array([9.0, 0, 0])), loop.sigma, doubtful=True)
    open_, closed = solve(chunks, edges), solve(chunks, edges, loops=[loop])
    assert error(closed) < 0.6 * error(open_)
    assert error(solve(chunks, edges, loops=[loop, wrong])) < 1.3 * error(closed)


def test_metric_chunks_give_the_unit():
    rng = np.random.default_rng(4)
    chunks = [make_chunk(rng, range(s, s + 8), 1.0, metric=s != 4, noise=0.02) for s in range(0, 52, 4)]
    chunks[1] = make_chunk(rng, range(4, 12), 3.0, noise=0.02)
    found = solve(chunks, sequence(chunks))
    assert found.metric
    np.testing.assert_allclose([c.scale for i, c in enumerate(found.chunks) if i != 1], 1.0, rtol=0.03)
    assert found.chunks[1].scale == pytest.approx(3.0, rel=0.03)


def test_chunks_without_a_common_set_begin_anew():
    rng = np.random.default_rng(5)
    chunks = [make_chunk(rng, range(4), 1.0), make_chunk(rng, range(10, 14), 1.0, track=1)]
    assert sequence(chunks) == [None, None]
    found = solve(chunks, sequence(chunks))
    np.testing.assert_allclose(found.bodies[10], np.eye(4), atol=1e-9)


def test_chunk_files(tmp_path):
    chunk = make_chunk(np.random.default_rng(6), range(3), 1.2, noise=0.1)
    write_chunk(tmp_path / "000000.npz", chunk)
    again = read_chunk(tmp_path / "000000.npz")
    assert [p.name for p in tmp_path.iterdir()] == ["000000.npz"]
    assert (again.sets, repr(again.scale), again.track) == ([0, 1, 2], repr(chunk.scale), 0)
    for a, b in zip(again.views, chunk.views, strict=True):
        assert (a.key, a.stamp_ns, a.camera, a.found) == (b.key, b.stamp_ns, b.camera, b.found)
        np.testing.assert_array_equal(a.depth, b.depth)
        np.testing.assert_array_equal(a.T_chunk_camera, b.T_chunk_camera)


def test_tum_keeps_every_nanosecond(tmp_path):
    pose = np.eye(4)
    pose[:3, 3] = 1, 2, 3
    text = write_tum(tmp_path / "t.tum", [1_700_000_000_000_000_001], [pose]).read_text()
    assert text == "1700000000.000000001 1 2 3 0 0 0 1\n"
