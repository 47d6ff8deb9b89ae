"""Whether a map's strongest cells are those that the model reads: deletion and insertion curves.

The cells of a slice are covered one after the other in a map's order, that which speaks most for
the positive label first, and the model is asked each time (deletion); or all are covered, and
uncovered in that order (insertion; Petsiuk et al. 2018, BMVC). The log-odds of the positive label
must fall faster, and rise faster, than they do in an order drawn at random. Covered is what
occlusion covers, by the same grey: the outline of the head stays as it is.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch

from mri_transfer.core.specs import digest
from mri_transfer.core.store import TensorStore
from mri_transfer.explain.mean_log_odds import MeanLogOdds, PixelTrunks, mean_grey
from mri_transfer.explain.patches import cell_edges, cell_sums, join_cells
from mri_transfer.explain.pixel_attribution import PixelAttribution
from mri_transfer.explain.regions import mean_over_patients
from mri_transfer.scans.slices import SliceStack, head_mask
from mri_transfer.training.fitted_model import FittedModel

__all__ = [
    "CURVE_POINTS",
    "CurveStore",
    "Curves",
    "close_curves",
    "close_maps",
    "curves_key",
    "curves_of",
    "faithfulness_rows",
]

FloatArray = npt.NDArray[np.float32]
DoubleArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

_VERSION = "mri-transfer/curves/1"
#: Shares of the head's cells that are covered, or uncovered, when the model is asked.
CURVE_POINTS = (0.0, 0.1, 0.25, 0.5, 1.0)
#: Orders drawn at random that a map's order is compared with.
_N_RANDOM = 2
_RANDOM_SEED = 20180907


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Curves:
    """Log-odds of one scan while cells of its close slices are covered and uncovered.

    Attributes
    ----------
    deletion, insertion : mapping of str to ndarray of float64, shape (n_points,)
        By kind of map, summed over the slices; at `CURVE_POINTS`.
    random_deletion, random_insertion : ndarray of float64, shape (n_points,)
        The same in orders drawn at random, their mean.
    """

    deletion: Mapping[str, DoubleArray]
    insertion: Mapping[str, DoubleArray]
    random_deletion: DoubleArray
    random_insertion: DoubleArray

    @classmethod
    def of_arrays(cls, kinds: Sequence[str], values: DoubleArray) -> Self:
        """Return curves from the arrays of `as_array`."""
        *own, chance = values
        return cls(
            deletion={kind: one[0] for kind, one in zip(kinds, own, strict=True)},
            insertion={kind: one[1] for kind, one in zip(kinds, own, strict=True)},
            random_deletion=chance[0],
            random_insertion=chance[1],
        )

    def as_array(self) -> DoubleArray:
        """Return all curves, shape (n_kinds + 1, 2, n_points); those of chance are last."""
        own = [[self.deletion[kind], self.insertion[kind]] for kind in self.deletion]
        return np.array([*own, [self.random_deletion, self.random_insertion]])


class CurveStore(TensorStore):
    """Curves of scans, addressed by `curves_key`."""

    kind = "curves"
    schema = _VERSION

    def put(self, key: str, curves: Curves) -> None:
        """Store the curves of a scan."""
        self._write(key, {"curves": curves.as_array()})

    def get(self, key: str, kinds: Sequence[str]) -> Curves:
        """Read the curves of a scan, by kind in the order in which they were computed."""
        return Curves.of_arrays(kinds, self._read(key)["curves"])


def curves_key(*, attribution_key: str, maps: Mapping[str, DoubleArray]) -> str:
    """Return the key of the curves of a scan.

    Parameters
    ----------
    attribution_key : str
        Of its pixel attribution: it holds the scan, the heads and the slices.
    maps : mapping of str to ndarray
        By kind; what is put in order.
    """
    sha = hashlib.sha256()
    for kind, values in maps.items():
        sha.update(f"{kind} {values.shape}".encode())
        sha.update(np.ascontiguousarray(values, dtype=np.float64).tobytes())
    return digest({"kind": _VERSION, "of": attribution_key, "maps": sha.hexdigest()})


def close_maps(
    maps: FloatArray,
    view: PixelAttribution,
    *,
    patch_cells: int,
    contrast: FloatArray | None = None,
) -> dict[str, DoubleArray]:
    """Return the maps of a scan's close slices, one of each kind, with a value in each cell.

    Parameters
    ----------
    maps : ndarray of float32, shape (n_slices, rows, columns)
        Those of the report.
    view : PixelAttribution
    patch_cells : int
        Cells along a patch's edge of occlusion; each gets the mean of its patch.
    contrast : ndarray of float32, shape (n_slices, rows, columns), optional
        The contrast map.

    Returns
    -------
    dict of str to ndarray of float64, shape (n, rows, columns)
        By kind.
    """
    cells = (maps.shape[1], maps.shape[2])
    counted = join_cells(np.ones((1, *cells)), patch_cells)
    patches = (view.occlusion / counted).repeat(patch_cells, axis=1).repeat(patch_cells, axis=2)
    found = {
        "occlusion": patches[:, : cells[0], : cells[1]],
        "integrated gradients": cell_sums(view.gradients, cells),
        "maps": maps[view.slices].astype(np.float64),
        "maps, not centred": view.raw[view.slices].astype(np.float64),
        "Grad-CAM, not centred": view.gradcam.astype(np.float64),
    }
    if contrast is not None:
        found["contrast"] = contrast[view.slices].astype(np.float64)
    return found


def close_curves(
    stack: SliceStack,
    trunks: Sequence[PixelTrunks],
    own: Sequence[FittedModel],
    *,
    patient_id: str,
    weights: FloatArray,
    slices: IntArray,
    maps: Mapping[str, DoubleArray],
) -> Curves:
    """Cover and uncover the cells of a scan's close slices, in the order of each kind of map.

    Parameters
    ----------
    stack, trunks, own, patient_id, weights
        As in `attribute_pixels`.
    slices : ndarray of int64, shape (n,)
        Positions in the stack.
    maps : mapping of str to ndarray
        Of `close_maps`.
    """
    heads = MeanLogOdds(own, trunks, patient_id, weights)
    mask = head_mask(stack.pixels.transpose(1, 2, 0).astype(np.float32)).transpose(2, 0, 1)

    def log_odds(variants: npt.NDArray[np.uint8], n: int) -> DoubleArray:
        given = torch.from_numpy(variants)
        passed = [one.trunk.forward_slices(given) for one in heads.trunks]
        return np.asarray(heads(passed, int(slices[n])).numpy(), dtype=np.float64)

    return curves_of(
        stack.pixels[slices],
        mask[slices],
        mean_grey(stack),
        maps,
        log_odds,
    )


def curves_of(
    pixels: npt.NDArray[np.uint8],
    masks: npt.NDArray[np.bool_],
    grey: float,
    maps: Mapping[str, DoubleArray],
    log_odds: Callable[[npt.NDArray[np.uint8], int], DoubleArray],
) -> Curves:
    """Cover and uncover the cells of some slices of a scan, in the order of each map.

    Parameters
    ----------
    pixels : ndarray of uint8, shape (n, height, width)
    masks : ndarray of bool, shape (n, height, width)
        The head in them; only cells that hold a part of it take part.
    grey : float
        What covers the head.
    maps : mapping of str to ndarray, shape (n, rows, columns)
        By kind. All have the same cells.
    log_odds : callable
        Of variants (m, height, width) of the n-th slice, returns what the model says of each, (m,).
    """
    total: DoubleArray | None = None
    for n, (picture, mask) in enumerate(zip(pixels, masks, strict=True)):
        cells = _Cells.of(picture, mask, grey, next(iter(maps.values())).shape[1:])
        rng = np.random.default_rng([_RANDOM_SEED, n])
        # Equal cells of a map stand in an order drawn at random, not in that of the page.
        ties = rng.permutation(len(cells.places))
        orders = [cells.order(values[n], ties) for values in maps.values()]
        orders += [rng.permutation(len(cells.places)) for _ in range(_N_RANDOM)]
        curves = cells.curves(orders, n, log_odds)
        total = curves if total is None else total + curves
    assert total is not None  # there is a slice
    own, chance = total[: len(maps)], total[len(maps) :].mean(axis=0, keepdims=True)
    return Curves.of_arrays(list(maps), np.concatenate([own, chance]))


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class _Cells:
    """The cells of a slice that hold a part of the head.

    Attributes
    ----------
    picture, covered : ndarray of uint8, shape (height, width)
        The slice, and the slice with all of its head covered.
    places : ndarray of int64, shape (n_cells, 2)
        Row and column of each cell.
    edges : tuple of ndarray of int64
        Where rows and columns of cells begin and end, in pixels.
    """

    picture: npt.NDArray[np.uint8]
    covered: npt.NDArray[np.uint8]
    places: IntArray
    edges: tuple[IntArray, IntArray]

    @classmethod
    def of(
        cls,
        picture: npt.NDArray[np.uint8],
        mask: npt.NDArray[np.bool_],
        grey: float,
        shape: tuple[int, ...],
    ) -> Self:
        rows, columns = (cell_edges(n, k) for n, k in zip(picture.shape, shape, strict=True))
        held = np.add.reduceat(mask.astype(np.int64), rows[:-1], axis=0)
        held = np.add.reduceat(held, columns[:-1], axis=1)
        return cls(
            picture=picture,
            covered=np.where(mask, np.uint8(grey), picture).astype(np.uint8),
            places=np.argwhere(held > 0),
            edges=(rows, columns),
        )

    def order(self, values: DoubleArray, ties: IntArray) -> IntArray:
        """Return the cells, that with the largest value first."""
        own = values[tuple(self.places.T)]
        found: IntArray = ties[np.argsort(-own[ties], kind="stable")]
        return found

    def curves(
        self,
        orders: Sequence[IntArray],
        n: int,
        log_odds: Callable[[npt.NDArray[np.uint8], int], DoubleArray],
    ) -> DoubleArray:
        """Return deletion and insertion in every order, shape (n_orders, 2, n_points)."""
        counts = [round(share * len(self.places)) for share in CURVE_POINTS[1:-1]]
        # To uncover an order's first cells is to cover its others.
        chosen = [
            part for o in orders for part in ([o[:c] for c in counts], [o[c:] for c in counts])
        ]
        variants = [
            self.picture,
            self.covered,
            *(self._with(one) for part in chosen for one in part),
        ]
        whole, none, *rest = log_odds(np.stack(variants), n).tolist()
        inner = np.array(rest).reshape(len(orders), 2, len(counts))
        ends = np.array([[whole, none], [none, whole]])[None].repeat(len(orders), axis=0)
        return np.concatenate([ends[..., :1], inner, ends[..., 1:]], axis=-1)

    def _with(self, chosen: IntArray) -> npt.NDArray[np.uint8]:
        found = self.picture.copy()
        for row, column in self.places[chosen]:
            cell = tuple(
                slice(e[i], e[i + 1]) for e, i in zip(self.edges, (row, column), strict=True)
            )
            found[cell] = self.covered[cell]
        return found


def faithfulness_rows(
    curves: Sequence[Curves], *, n_samples: int, seed: int, confidence: float
) -> list[dict[str, Any]]:
    """Return the areas under the curves of each kind of map, against orders drawn at random.

    Parameters
    ----------
    curves : sequence of Curves
        One a patient.
    n_samples, seed, confidence
        Of the bootstrap over patients.

    Returns
    -------
    list of dict
        method, and `deletion` and `insertion`, each with the estimates value, random and
        difference of the area, in log-odds. In a faithful map the difference of deletion is below
        0, that of insertion above.
    """
    settings: dict[str, Any] = {
        "n_samples": n_samples,
        "seed": seed,
        "confidence": confidence,
    }

    def figure(own: list[DoubleArray], chance: list[DoubleArray]) -> dict[str, Any]:
        value, random = (
            np.asarray(np.trapezoid(np.array(one), CURVE_POINTS, axis=1)) for one in (own, chance)
        )
        parts = {"value": value, "random": random, "difference": value - random}
        return {name: mean_over_patients(part, **settings) for name, part in parts.items()}

    rows = []
    for kind in dict.fromkeys(kind for one in curves for kind in one.deletion):
        own = [one for one in curves if kind in one.deletion]
        rows.append(
            {
                "method": kind,
                "deletion": figure(
                    [one.deletion[kind] for one in own], [one.random_deletion for one in own]
                ),
                "insertion": figure(
                    [one.insertion[kind] for one in own], [one.random_insertion for one in own]
                ),
            }
        )
    return rows
