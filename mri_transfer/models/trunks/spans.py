"""Which pixels of each row of a picture can differ from an all-black one, layer by layer."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

__all__ = ["Rectangle", "Spans"]

IntArray = npt.NDArray[np.int64]

#: Top, bottom, left, right in pixels, half open.
Rectangle = tuple[int, int, int, int]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Spans:
    """One run of pixels a row.

    Attributes
    ----------
    begin, end : ndarray of int64, shape (rows,)
        Half open; an empty row begins at `width` and ends at 0.
    width : int
        Pixels of a row.
    """

    begin: IntArray
    end: IntArray
    width: int

    @classmethod
    def of(cls, mask: npt.NDArray[np.bool_]) -> Spans:
        """Return the shortest runs that hold every pixel of a mask, shape (rows, columns)."""
        width = mask.shape[1]
        filled = mask.any(axis=1)
        begin = np.where(filled, mask.argmax(axis=1), width)
        end = np.where(filled, width - mask[:, ::-1].argmax(axis=1), 0)
        return cls(begin=begin, end=end, width=width)

    @classmethod
    def full(cls, rows: int, width: int) -> Spans:
        """Return rows that are whole."""
        return cls(begin=np.zeros(rows, np.int64), end=np.full(rows, width), width=width)

    @classmethod
    def empty(cls, rows: int, width: int) -> Spans:
        """Return rows without a pixel."""
        return cls(begin=np.full(rows, width), end=np.zeros(rows, np.int64), width=width)

    def grown(self) -> Spans:
        """Return what a kernel of 3 x 3 pixels lets each pixel reach."""
        begin, end = self.begin.copy(), self.end.copy()
        for to, of in ((slice(1, None), slice(-1)), (slice(-1), slice(1, None))):
            begin[to] = np.minimum(begin[to], self.begin[of])
            end[to] = np.maximum(end[to], self.end[of])
        filled = begin < end
        return Spans(
            begin=np.where(filled, np.maximum(begin - 1, 0), self.width),
            end=np.where(filled, np.minimum(end + 1, self.width), 0),
            width=self.width,
        )

    def halved(self) -> Spans:
        """Return what pooling of 2 x 2 pixels makes of it; an odd last row or column is dropped."""
        rows, width = len(self.begin) // 2, self.width // 2
        begin = self.begin[: 2 * rows].reshape(rows, 2).min(axis=1) // 2
        end = np.minimum((self.end[: 2 * rows].reshape(rows, 2).max(axis=1) + 1) // 2, width)
        filled = begin < end
        return Spans(
            begin=np.where(filled, begin, width), end=np.where(filled, end, 0), width=width
        )

    def widest(self) -> int:
        """Return the length of the longest run."""
        return max(0, int((self.end - self.begin).max(initial=0)))

    def bands(self, rows: int, grain: tuple[int, int]) -> Iterator[Rectangle]:
        """Cut into rectangles of whole grains.

        Parameters
        ----------
        rows : int
            Height of a rectangle, a multiple of the grain's.
        grain : (int, int)
            Height and width of a grain. Rectangles may reach beyond the picture.

        Yields
        ------
        top, bottom, left, right : int
            Half open. Bands without a pixel are left out.
        """
        last = -(-len(self.begin) // grain[0]) * grain[0]
        for top in range(0, last, rows):
            bottom = min(top + rows, last)
            left, right = self.begin[top:bottom].min(), self.end[top:bottom].max()
            if left < right:
                across = grain[1]
                yield top, bottom, int(left) // across * across, -(-int(right) // across) * across

    def missing(self, done: Spans) -> Iterator[Rectangle]:
        """Yield rectangles (top, bottom, left, right) that cover these spans but not `done`."""
        edges = np.stack([self.begin, self.end, done.begin, done.end])
        changes = np.flatnonzero((np.diff(edges, axis=1) != 0).any(axis=0)) + 1
        cuts = [0, *changes.tolist(), edges.shape[1]]
        for top, bottom in itertools.pairwise(cuts):
            begin, end, done_begin, done_end = (int(edge) for edge in edges[:, top])
            if done_begin >= done_end:
                done_begin = done_end = end
            for left, right in ((begin, min(done_begin, end)), (max(done_end, begin), end)):
                if left < right:
                    yield top, bottom, left, right
