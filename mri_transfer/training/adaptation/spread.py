"""How far an adapted model depends on its few patients, and what it costs elsewhere."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from mri_transfer.errors import HeadError
from mri_transfer.metrics.delong import delong_auc, delong_difference
from mri_transfer.metrics.intervals import resample_patients
from mri_transfer.models.adaptation.settings import AdaptationSpec
from mri_transfer.models.tails.spec import TuningSpec
from mri_transfer.training.adaptation.arms import Adapted, ArmName, KnownSource, fit_arm
from mri_transfer.training.dataset import LabelledFeatures
from mri_transfer.training.fitted_model import FittedModel, patient_scores
from mri_transfer.training.folds import derive_seed, make_folds
from mri_transfer.training.model_config import ModelConfig
from mri_transfer.training.refit import BootstrapHeads, refit_on_all
from mri_transfer.training.settings import FoldSpec

__all__ = ["bootstrap_adapted", "draw_labelled", "old_domain"]


def draw_labelled(site: LabelledFeatures, n_labelled: int, *, seed: int) -> tuple[str, ...]:
    """Draw labelled patients, as many of one label as of the other, or nearly.

    Parameters
    ----------
    site : LabelledFeatures
    n_labelled : int
    seed : int

    Raises
    ------
    HeadError
        If a label has too few patients.
    """
    rng = np.random.default_rng(seed)
    names = np.array(site.patient_ids, dtype=object)
    drawn: list[str] = []
    for label, wanted in ((1, n_labelled // 2), (0, n_labelled - n_labelled // 2)):
        own = rng.permutation(names[site.is_positive == label])
        if len(own) < wanted:
            raise HeadError(
                "the site has too few patients of one label",
                found=f"{len(own)} of {site.positive if label else site.negative}",
                expected=f"{wanted} for {n_labelled} labelled patients, labels alike",
                remedy="Ask for fewer with --labelled",
            )
        drawn += [str(name) for name in own[:wanted]]
    return tuple(sorted(drawn))


def bootstrap_adapted(
    way: ArmName,
    parents: tuple[FittedModel, ...],
    site: LabelledFeatures,
    source: KnownSource,
    adapted: Adapted,
    spec: AdaptationSpec,
    *,
    seed: int,
) -> BootstrapHeads:
    """Adapt each bootstrap head of the old bundle to a resample of the labelled patients.

    A tail is not fitted again: heads on its features stay as they are, or as the way made them.

    Parameters
    ----------
    way : str
    parents : tuple of FittedModel
        The old bundle's bootstrap heads.
    site : LabelledFeatures
        The labelled patients.
    source : KnownSource
        Of the final head.
    adapted : Adapted
        What the way made of the final head.
    spec : AdaptationSpec
    seed : int
    """
    rng = np.random.default_rng(derive_seed(seed, 8))
    draws = resample_patients(site.is_positive, n_samples=len(parents), rng=rng)
    heads, faults = [], []
    for number, (parent, draw) in enumerate(zip(parents, draws, strict=True)):
        model = parent
        if adapted.model.tail is None:
            drawn = site.resampled(draw)
            known = dataclasses.replace(source, model=parent)
            try:
                model = fit_arm(way, drawn.view(drawn.labels), known, spec, seed=seed).model
            except HeadError as error:
                faults.append(f"head {number}: {error}")
                continue
        heads.append(model.with_record(model.record.essential))
    return BootstrapHeads(heads=tuple(heads), faults=tuple(faults))


def old_domain(
    way: ArmName,
    config: ModelConfig,
    site: LabelledFeatures,
    source: KnownSource,
    spec: AdaptationSpec,
    *,
    seed: int,
    n_folds: int = 5,
) -> dict[str, Any] | None:
    """Return what adapting costs on the patients that the model was made of, as JSON values.

    Each of them is scored by a head that was fitted without them, before and after it was adapted
    to the site. FiLM sets of domains are taken as they are.

    Parameters
    ----------
    way : str
    config : ModelConfig
        Of the old bundle.
    site : LabelledFeatures
        The labelled patients.
    source : KnownSource
    spec : AdaptationSpec
    seed : int
    n_folds : int
        Fewer if a label has fewer patients.

    Returns
    -------
    dict or None
        `n_old`, `auc_before`, `auc_after` and `auc_difference` (after minus before, paired); None
        where the old patients are not at hand.
    """
    old = source.patients
    if old is None:
        return None
    # Heads alone are fitted again: a tail has made its features already.
    heads_only = dataclasses.replace(config, tuning=TuningSpec())
    names = np.array(old.patient_ids, dtype=object)
    labels = old.is_positive
    fewest = int(np.bincount(labels, minlength=2).min())
    folds = make_folds(
        old.patient_ids,
        [old.labels[name] for name in old.patient_ids],
        spec=FoldSpec(n_folds=min(n_folds, fewest), n_repeats=1),
        seed=seed,
    )
    scores = np.empty((2, len(names)))
    for outer in folds:
        train, test = (old.only(names[rows]) for rows in (outer.train, outer.test))
        base = refit_on_all(heads_only, train, place=(0, outer.fold)).trained
        known = dataclasses.replace(source, model=base, patients=train)
        after = fit_arm(way, site.view(site.labels), known, spec, seed=seed).model
        for row, model in enumerate((base, after)):
            scores[row, outer.test] = patient_scores(model, test)
    return {
        "n_old": len(names),
        "auc_before": delong_auc(labels, scores[0]).estimate.as_dict(),
        "auc_after": delong_auc(labels, scores[1]).estimate.as_dict(),
        "auc_difference": delong_difference(labels, scores[1], scores[0]).as_dict(),
    }
