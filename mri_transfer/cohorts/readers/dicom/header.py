"""DicomHeader: values of a DICOM header, in the classic or the enhanced format."""

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
    """Access to header values; missing or unreadable values are None or empty.

    Parameters
    ----------
    dataset : pydicom.Dataset
        In the classic format, with one slice, or the enhanced format, with all slices and most
        values in functional groups, shared or per frame.
    """

    def __init__(self, dataset: Dataset) -> None:
        shared = _items(dataset, "SharedFunctionalGroupsSequence")[:1]
        self._frames = _items(dataset, "PerFrameFunctionalGroupsSequence")
        self._shared = [group for item in shared for group in _groups(item)]
        first = [group for frame in self._frames[:1] for group in _groups(frame)]
        self._datasets = [dataset, *self._shared, *first]

    def _value(self, *keywords: str) -> Any:
        for keyword in keywords:
            for dataset in self._datasets:
                value = _get(dataset, keyword)
                if value is not None:
                    return value
        return None

    def text(self, keyword: str) -> str:
        """Return a value as text; multiple values are joined by backslashes, as in the file."""
        value = self._value(keyword)
        parts = value if isinstance(value, Sequence) and not isinstance(value, str) else [value]
        return "\\".join(str(part).strip() for part in parts if part is not None).strip("\0 ")

    def words(self, keyword: str) -> tuple[str, ...]:
        """Return the parts of a value, in upper case."""
        return tuple(word.strip().upper() for word in self.text(keyword).split("\\") if word)

    def number(self, *keywords: str) -> float | None:
        """Return the first of the values that exists, None for 0 ("not applicable")."""
        value = self._value(*keywords)
        if isinstance(value, Sequence) and not isinstance(value, str):
            value = value[0] if value else None
        with contextlib.suppress(TypeError, ValueError):
            number = float(value)
            return number if number and math.isfinite(number) else None
        return None

    def integer(self, keyword: str) -> int | None:
        """Return a value as a positive integer, or None."""
        number = self.number(keyword)
        return int(number) if number is not None and 0 < number <= _MAX_NUMBER else None

    def places(self) -> tuple[tuple[tuple[float, ...], ...], tuple[tuple[float, ...], ...]]:
        """Return position and orientation of each frame, without missing ones."""
        frames = [[*_groups(frame), *self._shared] for frame in self._frames] or [self._datasets]
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
    """Yield the functional groups of a frame, each a sequence of one item."""
    for element in item:
        if element.VR == "SQ":
            yield from element.value


def _vector(datasets: Sequence[Dataset], keyword: str, length: int) -> tuple[float, ...] | None:
    for dataset in datasets:
        value = _get(dataset, keyword)
        with contextlib.suppress(TypeError, ValueError):
            if value is not None and len(value) == length:
                return tuple(float(part) for part in value)
    return None
