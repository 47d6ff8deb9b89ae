"""The forgetting meter: what an update costs on the patients that a model was made of.

A network that is trained further on other patients may lose what it knew (catastrophic forgetting;
French 1999, Trends Cogn Sci 3:128-135). Two things are told: the AUC of held-out patients of the
old cohort before and after the update, and how far the weights went.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from mri_transfer.metrics.delong import delong_auc, delong_difference
from mri_transfer.training.fitted_model import FittedModel
from mri_transfer.training.update_choice import StrategyComparison, UpdateStrategy

__all__ = ["forgetting"]

FloatArray = npt.NDArray[np.float64]


def forgetting(
    compared: StrategyComparison,
    strategy: UpdateStrategy,
    before: FittedModel,
    after: FittedModel,
    *,
    guards: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return what an update costs on the old cohort, as JSON values.

    Parameters
    ----------
    compared : StrategyComparison
        Its held-out scores: each patient was scored by models that had not seen that patient.
    strategy : str
        The update that was made.
    before, after : FittedModel
        The old model and the updated one; tails with their sources.
    guards : mapping, optional
        What stood against forgetting where a tail was trained further (`TailUpdate.guards`).

    Returns
    -------
    dict
        `strategy`; `n_old`; `auc_before`, `auc_after` and `auc_difference` (after minus before,
        paired), None where the old patients were not at hand; `distances`, of the head and of each
        trained stage: the norm of the change over the norm of the old weights, None where the
        weights cannot be compared; `guards`, where they are given.
    """
    found: dict[str, Any] = {
        "strategy": strategy,
        "n_old": int((~compared.is_new).sum()),
        "auc_before": None,
        "auc_after": None,
        "auc_difference": None,
        "distances": _distances(before, after),
        **({} if guards is None else {"guards": dict(guards)}),
    }
    if not found["n_old"]:
        return found
    old = ~compared.is_new
    labels, first, last = (
        values[old]
        for values in (compared.labels, compared.scores["unchanged"], compared.scores[strategy])
    )
    return {
        **found,
        "auc_before": delong_auc(labels, first).estimate.as_dict(),
        "auc_after": delong_auc(labels, last).estimate.as_dict(),
        "auc_difference": delong_difference(labels, last, first).as_dict(),
    }


def _distances(before: FittedModel, after: FittedModel) -> dict[str, float | None]:
    head = _distance(before.head.tensors, after.head.tensors)
    if before.tail is None or after.tail is None:
        return {"head": head}
    old, new = before.tail.weights_by_stage(), after.tail.weights_by_stage()
    return {**{name: _distance(old[name], new[name]) for name in old}, "head": head}


def _distance(
    before: Mapping[str, npt.NDArray[Any]], after: Mapping[str, npt.NDArray[Any]]
) -> float | None:
    shapes = [{name: values.shape for name, values in one.items()} for one in (before, after)]
    if shapes[0] != shapes[1]:
        return None
    old, new = (
        np.concatenate([np.ravel(one[name]).astype(np.float64) for name in sorted(one)])
        for one in (before, after)
    )
    return float(np.linalg.norm(new - old) / (np.linalg.norm(old) or 1.0))
