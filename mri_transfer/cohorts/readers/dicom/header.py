"""DicomHeader: values of a DICOM header, wherever the plain or the enhanced format keeps them."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydicom import Dataset

__all__ = ["DicomHeader"]

_MAX_NUMBER = 1_000_000


class DicomHeader:
    """A header to ask for values; what is missing or cannot be read is None or empty.

    Parameters
    ----------
    dataset : pydicom.Dataset
        Of the plain format, with one slice, or of the enhanced format, with all of them: there
        most values lie in groups that all frames share or that each frame has.
    """

    def __init__(self, dataset: Dataset) -> None:
        shared = _items(dataset, "SharedFunctionalGroupsSequence")[:1]
        self._frames = _items(dataset, "PerFrameFunctionalGroupsSequence")
        self._shared = [group for one in shared for group in _groups(one)]
        first = [group for frame in self._frames[:1] for group in _groups(frame)]
        self._places = [dataset, *self._shared, *first]

    def _value(self, *keywords: str) -> Any:
        for keyword in keywords:
            for place in self._places:
                value = _get(place, keyword)
                if value is not None:
                    return value
        return None

    def text(self, keyword: str) -> str:
        """Return a value as text, several joined by backslashes as in the file."""
        value = self._value(keyword)
        parts = value if isinstance(value, Sequence) and not isinstance(value, str) else [value]
        return "\\".join(str(part).strip() for part in parts if part is not None).strip("\0 ")

    def words(self, keyword: str) -> tuple[str, ...]:
        """Return the parts of a value, in capitals."""
        return tuple(word.strip().upper() for word in self.text(keyword).split("\\") if word)

    def number(self, *keywords: str) -> float | None:
        """Return the first of the values that is there; 0 stands for "not applicable"."""
        value = self._value(*keywords)
        if isinstance(value, Sequence) and not isinstance(value, str):
            value = value[0] if value else None
        with contextlib.suppress(TypeError, ValueError):
            number = float(value)
            return number if number and math.isfinite(number) else None
        return None

    def integer(self, keyword: str) -> int | None:
        """Return a count."""
        number = self.number(keyword)
        return int(number) if number is not None and 0 < number <= _MAX_NUMBER else None

    def places(self) -> tuple[tuple[tuple[float, ...], ...], tuple[tuple[float, ...], ...]]:
        """Return position and orientation of every frame; shorter where they are missing."""
        frames = [[*_groups(frame), *self._shared] for frame in self._frames] or [self._places]
        positions = [_vector(frame, "ImagePositionPatient", 3) for frame in frames]
        orientations = [_vector(frame, "ImageOrientationPatient", 6) for frame in frames]
        return (
            tuple(vector for vector in positions if vector is not None),
            tuple(vector for vector in orientations if vector is not None),
        )


def _get(dataset: Dataset, keyword: str) -> Any:
    try:
        value = dataset.get(keyword)
    except Exception:  # a value that cannot be converted; the message would quote it
        return None
    return None if value == "" else value


def _items(dataset: Dataset, keyword: str) -> list[Dataset]:
    return list(_get(dataset, keyword) or ())


def _groups(item: Dataset) -> Iterator[Dataset]:
    """Yield the functional groups of a frame, each of which is a sequence of one item."""
    for element in item:
        if element.VR == "SQ":
            yield from element.value


def _vector(places: Sequence[Dataset], keyword: str, length: int) -> tuple[float, ...] | None:
    for place in places:
        value = _get(place, keyword)
        with contextlib.suppress(TypeError, ValueError):
            if value is not None and len(value) == length:
                return tuple(float(part) for part in value)
    return None
