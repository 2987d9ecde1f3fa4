# SPDX-License-Identifier: Apache-2.0
"""What a CameraInfo says of its lens: the word `distortion_model` and the numbers `d`, judged together.

The word alone tells what kind of lens zeros describe: no distortion for a pinhole camera, r = f theta for a fisheye.
"""

from __future__ import annotations

import re

from da3_ros.messages.errors import MessageError, Say

PLUMB_BOB, RATIONAL, EQUIDISTANT = "plumb_bob", "rational_polynomial", "equidistant"
_FISHEYE = (
    *("equidistant", "fisheye", "kannala_brandt", "kannala_brandt4", "kannala_brandt8", "kb", "kb4", "kb8"),
    *("equi", "opencv_fisheye"),  # Kalibr's and COLMAP's words
)
_RADIAL = (
    "plumb_bob",
    "radtan",
    "radial_tangential",
    "brown_conrady",
    "brown",
    "opencv",
    "rational_polynomial",
    "rational",
    "full_opencv",
)
# Words for a pinhole camera, and for lenses whose distortion nothing here undoes: good while all numbers are zero.
_STRAIGHT = ("", "none", "no_distortion", "pinhole", "perspective", "rectilinear")
_OTHER = ("inverse_brown_conrady", "modified_brown_conrady")
_COUNTS = {EQUIDISTANT: (4,), PLUMB_BOB: (4, 5), RATIONAL: (4, 5, 8, 12, 14)}
_LARGEST = 1e4
"""No lens has coefficients beyond it; tele lenses come to hundreds."""
ALLOWED = "plumb_bob with 4 or 5 numbers, rational_polynomial with 8, 12 or 14, equidistant with 4"
_CALIBRATE = "calibrate the camera (camera_calibration) and let its driver publish the result"


def decode_lens(word: str, numbers: tuple[float, ...], say: Say) -> tuple[str, tuple[float, ...]]:
    """Model and coefficients, as OpenCV orders them; ("", ()) for no distortion.

    word: `distortion_model`, numbers: `d`, finite. say: told where the two do not fit but leave no doubt. Raises
    MessageError where they do, or where the model is not known.
    """
    if any(abs(number) > _LARGEST for number in numbers):
        raise _refused(f"D = {list(numbers)} for distortion model {word!r}", _CALIBRATE)
    name = re.sub(r"[^a-z0-9]+", "_", word.lower()).strip("_")
    name = name.removeprefix("pinhole_")  # Kalibr names projection and distortion: `pinhole-equi`, `pinhole-radtan`
    if name in _FISHEYE:
        return EQUIDISTANT, _counted(EQUIDISTANT, word, numbers) if any(numbers) else (0.0,) * 4
    if name not in (*_RADIAL, *_STRAIGHT, *_OTHER):
        raise _refused(f"distortion model {word!r}", "publish the rectified image (image_proc) and use that")
    if not any(numbers):
        return "", ()
    if name in _RADIAL:
        model = RATIONAL if name.startswith("rational") or name == "full_opencv" else PLUMB_BOB
        count = len(_stripped(numbers, _COUNTS[model]))
        if model == PLUMB_BOB and count in (8, 12, 14):  # OpenCV's order is the same
            say(f"D has {count} numbers, {word} has 5: taken for rational_polynomial")
            model = RATIONAL
        return model, _counted(model, word, numbers)
    if name in _STRAIGHT:
        return _by_length(word, numbers, say)
    raise _refused(f"distortion model {word!r} with D = {list(numbers)}", _CALIBRATE)


def _by_length(word: str, numbers: tuple[float, ...], say: Say) -> tuple[str, tuple[float, ...]]:
    """Numbers without a word. Four of them may be a pinhole's or a fisheye's; of the other lengths only one is."""
    found = {5: PLUMB_BOB, 8: RATIONAL, 12: RATIONAL, 14: RATIONAL}.get(len(numbers))
    if found is None:
        doubt = "may be plumb_bob or equidistant" if len(numbers) == 4 else "fit no model"
        raise _refused(
            f"distortion_model is {word!r} and D has {len(numbers)} numbers, which {doubt}", "set distortion_model"
        )
    say(f"distortion_model is {word!r} but D has {len(numbers)} numbers: taken for {found}; set distortion_model")
    return found, numbers


def _counted(model: str, word: str, numbers: tuple[float, ...]) -> tuple[float, ...]:
    """As many numbers as the model has; zeros behind them, in messages of a fixed length, do not count."""
    counts = _COUNTS[model]
    kept = _stripped(numbers, counts)
    if len(kept) not in counts:
        shown = f"D of {len(numbers)} numbers {list(numbers)} for distortion model {word!r}"
        raise _refused(shown, f"{_CALIBRATE}, with as many numbers as the model has")
    return kept


def _stripped(numbers: tuple[float, ...], counts: tuple[int, ...]) -> tuple[float, ...]:
    if len(numbers) in counts:
        return numbers
    last = max((i for i, number in enumerate(numbers, 1) if number), default=0)
    fitting = [count for count in counts if last <= count <= len(numbers)]
    return numbers[: fitting[0]] if fitting else numbers


def _refused(problem: str, remedy: str) -> MessageError:
    return MessageError(problem, allowed=ALLOWED, remedy=remedy)
