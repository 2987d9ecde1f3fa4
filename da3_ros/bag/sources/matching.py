# SPDX-License-Identifier: Apache-2.0
"""Which camera of a source a calibration in a file is of: those that the user names, and those beside the pictures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from da3_ros.bag.sources.calibration import Calibrated, is_calibration, read_calibrations
from da3_ros.bag.sources.folders import camera_name
from da3_ros.bag.sources.source import Source, SourceError
from da3_ros.geometry import CameraModel

UNLIKE = 0.01
"""Share of the image's longer side."""


@dataclass
class Known:
    """Calibrations by the camera that they are of, with their files."""

    by_name: dict[str, tuple[Path, Calibrated]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def add(self, name: str, path: Path, found: Calibrated) -> None:
        """Another one; the first of a camera holds, and what contradicts it is said."""
        first, known = self.by_name.setdefault(name, (path, found))
        if are_unlike(known.model, found.model):
            both = f"{focal_words(found.model)}, {focal_words(known.model)}"
            self.notes.append(f"{name}: {path} contradicts {first} ({both}): that holds")


def are_unlike(a: CameraModel, b: CameraModel) -> bool:
    """Whether two calibrations cannot be of one lens: they differ by more than calibrating twice does."""
    apart = [abs(x - y) for x, y in ((a.fx, b.fx), (a.fy, b.fy), (a.cx, b.cx), (a.cy, b.cy))]
    return (a.width, a.height) != (b.width, b.height) or max(apart) > UNLIKE * max(a.width, a.height)


def focal_words(model: CameraModel) -> str:
    """What tells calibrations apart, for people."""
    return f"fx {model.fx:.1f} of {model.width} x {model.height}"


def named_calibrations(given: tuple[str, ...], names: list[str]) -> Known:
    """The calibrations of ``NAME=FILE`` and ``FILE``, for cameras of these names."""
    known = Known()

    def take(name: str, path: Path, found: Calibrated) -> None:
        if name in known.by_name:
            raise SourceError(
                f"--camera-info gives {name} two calibrations, {known.by_name[name][0]} and {path}: give one of them, "
                "or say with NAME=FILE of which cameras they are"
            )
        known.by_name[name] = (path, found)

    for text in given:
        name, sign, rest = ("", "", "") if Path(text).is_file() else text.partition("=")  # a path may have one
        path = Path(rest if sign else text)
        if not path.is_file():
            raise SourceError(f"--camera-info {text}: there is no file {path}")
        found = read_calibrations(path)
        if sign:
            if name not in names:
                raise SourceError(f"--camera-info {text}: there is no camera {name}; there are {', '.join(names)}")
            one = found[0] if len(found) == 1 else next((each for each in found if each.name == name), None)
            if one is None:
                raise SourceError(
                    f"--camera-info {text}: {path} is of {', '.join(c.name for c in found)}: leave NAME= out"
                )
            take(name, path, one)
            continue
        matched, how = _matched(found, names)
        if not matched:
            its = ", ".join(each.name or "a camera without a name" for each in found)
            raise SourceError(
                f"--camera-info {text} is of {its}; there are {', '.join(names)}: say which with NAME=FILE"
            )
        for name, each in matched.items():
            take(name, path, each)
        known.notes += [f"{path}: {how}"] if how else []
    return known


def _matched(found: list[Calibrated], names: list[str]) -> tuple[dict[str, Calibrated], str]:
    """Which camera each calibration is of, and how that was told, where it is not by name."""
    by_name = {camera_name(each.name): each for each in found if each.name}
    same = {name: by_name[name] for name in names if name in by_name}
    if same:
        return same, ""
    by_topic = {name: [each for each in found if name in each.topic.split("/")] for name in names}
    if found and all(len(its) == 1 for its in by_topic.values()):
        return {name: its[0] for name, its in by_topic.items()}, "its topics name the cameras"
    if len(found) == len(names):
        told = ", ".join(f"{each.name or 'its camera'} is {name}" for each, name in zip(found, names, strict=True))
        return dict(zip(names, found, strict=True)), f"by their order, {told}"
    return {}, ""


def find_beside(source: Source) -> Known:
    """Calibrations that lie in the folder of a source, or in those of its cameras."""
    known = Known()
    root = source.root if source.root.is_dir() else source.root.parent
    names = [camera.name for camera in source.cameras]
    for camera in source.cameras:
        its = [shot.path.parent for shot in source.of(camera.name)[:1] if shot.path.is_relative_to(root)]
        own = [p for folder in {f for each in its for f in (each, each.parent)} - {root} for p in _files(folder)]
        found = read_calibrations(own[0]) if len(own) == 1 else []
        if len(found) == 1:
            known.add(camera.name, own[0], found[0])
        elif own:
            names_of = ", ".join(path.name for path in own)
            known.notes.append(
                f"{camera.name}: several calibrations lie beside its pictures ({names_of}): none is used; say which "
                "with --camera-info NAME=FILE"
            )
    # Other things than this video lie beside one.
    own = [p for p in _files(root) if source.root.is_dir() or p.stem == source.root.stem]
    left = []
    for path in own:
        found = [
            replace(each, name=each.name if each.name and len(own) == 1 else _called(each, path, names))
            for each in read_calibrations(path)
        ]
        matched, how = _matched(found, names)
        if not matched or (how and len(own) > 1):
            left.append(path)
            continue
        for name, each in matched.items():
            known.add(name, path, each)
        known.notes += [f"{path}: {how}"] if how else []
    if left and not known.by_name:
        known.notes.append(
            f"calibrations lie beside the pictures ({', '.join(p.name for p in left)}), and nothing tells of which "
            "camera they are: none is used; say so with --camera-info NAME=FILE"
        )
    return known


def _called(found: Calibrated, path: Path, names: list[str]) -> str:
    """The name of a calibration, or that of its file where the source has a camera of that name."""
    if camera_name(found.name) in names if found.name else False:
        return found.name
    stem = camera_name(path.stem)
    return next(
        (name for name in names if stem in (name, f"{name}_camera_info", f"{name}_info", f"{name}_intrinsics")),
        found.name,
    )


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if is_calibration(path))


def models_of(given: tuple[str, ...], names: list[str]) -> Mapping[str, tuple[Path, CameraModel]]:
    """Calibrations of ``--camera-info`` by camera, for recordings that have cameras of these names."""
    return {name: (path, each.model) for name, (path, each) in named_calibrations(given, names).by_name.items()}
