"""Which way to adapt is worth it: each labelled patient scored by ways that had not seen it.

A handful of patients cannot tell eleven ways apart by their figures. A way replaces the unchanged
bundle only if its log loss on patients left out is significantly lower, all ways taken together:
by the exact test of flipped signs, with Holm's adjustment. The test itself says how many patients
are needed at least: with N of them no p value is below 2^-N.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from mri_transfer.errors import FoldError, HeadError
from mri_transfer.metrics.calibration import brier
from mri_transfer.metrics.delong import delong_auc
from mri_transfer.models.adaptation.settings import AdaptationSpec
from mri_transfer.training.adaptation.arms import ARMS, ArmName, KnownSource, fit_arm
from mri_transfer.training.dataset import LabelledFeatures
from mri_transfer.training.fitted_model import patient_scores

__all__ = ["WayChoice", "choose_way", "fewest_patients", "held_out_scores", "sign_flip_p"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

_CLIP = 1e-6
#: So many patients have all their flips counted; of more, so many flips are drawn.
_EXACT, _DRAWN = 14, 20_000


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class WayChoice:
    """Which way was chosen, and why.

    Attributes
    ----------
    chosen : str
        `none` where nothing is significantly better.
    labels : ndarray of int64, shape (n,)
    scores : mapping of str to ndarray of float64, shape (n,)
        Of patients left out, by way.
    document : mapping
        JSON values: figures of each way, p values, what could not be tried and why.
    """

    chosen: ArmName
    labels: IntArray
    scores: Mapping[ArmName, FloatArray]
    document: Mapping[str, Any]

    def of_way(self, way: ArmName) -> FloatArray:
        """Return the scores of patients left out; none where the way could not be tried so."""
        return self.scores.get(way, np.zeros(0))

    def performance(self, way: ArmName) -> dict[str, Any]:
        """Return what a bundle made by that way may promise."""
        figures = self.document["ways"].get(way, {})
        return {
            "from": f"Leave-one-patient-out over {len(self.labels)} labelled patients of the new "
            f"site, of adapting by {ARMS[way].title} (internal testing)",
            "figures": {name: figures[name] for name in ("auc", "brier") if name in figures},
            "operating_points": [],
        }


def fewest_patients(n_ways: int, alpha: float) -> int:
    """Return how many patients a test of so many ways needs to be able to speak for one.

    Parameters
    ----------
    n_ways : int
        Besides the unchanged bundle.
    alpha : float
    """
    return max(4, math.ceil(math.log2(max(n_ways, 1) / alpha)))


def sign_flip_p(differences: npt.ArrayLike, *, seed: int = 0) -> float:
    """Return the one-sided p value of a mean below 0 (Fisher's randomisation of signs).

    Parameters
    ----------
    differences : array_like, shape (n,)
        Of pairs. Under the null hypothesis each is as likely to have the other sign.
    seed : int
        Of flips that are drawn, for more than 14 pairs.
    """
    values = np.asarray(differences, dtype=np.float64)
    found = values.mean()
    if len(values) <= _EXACT:
        signs = np.array(list(itertools.product((1.0, -1.0), repeat=len(values))))
        means = signs @ values / len(values)
        return float((means <= found + 1e-12).mean())
    rng = np.random.default_rng(seed)
    signs = rng.choice((1.0, -1.0), size=(_DRAWN, len(values)))
    means = signs @ values / len(values)
    return float(((means <= found + 1e-12).sum() + 1) / (_DRAWN + 1))


def held_out_scores(
    site: LabelledFeatures,
    source: KnownSource,
    ways: Sequence[ArmName],
    spec: AdaptationSpec,
    *,
    seed: int,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[dict[ArmName, FloatArray], dict[ArmName, str]]:
    """Score each labelled patient by ways that were fitted to all others.

    Returns
    -------
    scores : dict of str to ndarray of float64, shape (n,)
    faults : dict of str to str
        Ways that the patients cannot support, and why.

    Raises
    ------
    FoldError
        If a label has fewer than two patients.
    """
    names = site.patient_ids
    if min(np.bincount(site.is_positive, minlength=2)) < 2:
        raise FoldError(
            "too few labelled patients to leave one out",
            found=f"{len(names)} patients, {int(site.is_positive.sum())} of them positive",
            expected="two or more of each label",
        )
    scores: dict[ArmName, FloatArray] = {}
    faults: dict[ArmName, str] = {}
    for done, way in enumerate(ways):
        found = np.empty(len(names))
        try:
            for i, name in enumerate(names):
                view = site.view(set(names) - {name})
                adapted = fit_arm(way, view, source, spec, seed=seed)
                found[i] = patient_scores(adapted.model, site.only([name]))[0]
        except HeadError as error:
            faults[way] = str(error)
        else:
            scores[way] = found
        if progress is not None:
            progress(done + 1, len(ways))
    return scores, faults


def choose_way(
    labels: IntArray,
    scores: Mapping[ArmName, FloatArray],
    *,
    alpha: float,
    faults: Mapping[ArmName, str] | None = None,
) -> WayChoice:
    """Choose the way with the least log loss of those that are significantly better than none.

    Parameters
    ----------
    labels : ndarray of {0, 1}, shape (n,)
    scores : mapping of str to ndarray of float64, shape (n,)
        Of `held_out_scores`, `none` among them.
    alpha : float
    faults : mapping of str to str, optional
        Of `held_out_scores`.
    """
    losses = {way: _log_losses(labels, values) for way, values in scores.items()}
    others: list[ArmName] = [way for way in scores if way != "none"]
    p: dict[ArmName, float] = {way: sign_flip_p(losses[way] - losses["none"]) for way in others}
    adjusted = _holm(p)
    better = [way for way in others if adjusted[way] <= alpha]
    chosen: ArmName = min(better, key=lambda way: losses[way].mean(), default="none")
    needed = fewest_patients(len(others), alpha)
    ways = {
        way: {
            "auc": delong_auc(labels, values).estimate.as_dict(),
            "brier": brier(labels, values).as_dict(),
            "log_loss": float(losses[way].mean()),
            **({} if way == "none" else {"p": p[way], "p_adjusted": adjusted[way]}),
        }
        for way, values in scores.items()
    }
    document = {
        "n_labelled": len(labels),
        "n_positive": int(labels.sum()),
        "alpha": alpha,
        "needed": needed,
        "enough": len(labels) >= needed,
        "ways": ways,
        "not_tried": dict(faults or {}),
        "chosen": chosen,
    }
    return WayChoice(chosen=chosen, labels=labels, scores=dict(scores), document=document)


def _log_losses(labels: IntArray, scores: FloatArray) -> FloatArray:
    right = np.where(labels == 1, scores, 1.0 - scores)
    losses: FloatArray = -np.log(np.clip(right, _CLIP, 1.0))
    return losses


def _holm(p: Mapping[ArmName, float]) -> dict[ArmName, float]:
    from statsmodels.stats.multitest import multipletests

    if not p:
        return {}
    return dict(zip(p, multipletests(list(p.values()), method="holm")[1].tolist(), strict=True))
