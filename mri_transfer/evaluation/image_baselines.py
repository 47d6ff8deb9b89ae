"""What plainer readings of the same images reach on the same folds.

An image model is worth its trouble where it beats them: the head's size and outline alone (is it
reading the mask?), the histogram of grey values (is it reading the scanner?), a linear support
vector machine on the voxels (which deep learning did not beat in Wen et al. 2020, MedIA
63:101694), and the same head on a trunk that was never trained.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.base import clone
from threadpoolctl import threadpool_limits

from mri_transfer.core.arrays import IntArray
from mri_transfer.evaluation.baselines import score_folds
from mri_transfer.metrics.task import Task
from mri_transfer.scans.descriptors import ScanDescriptors
from mri_transfer.training.cross_validation import cross_validate
from mri_transfer.training.dataset import LabelledFeatures
from mri_transfer.training.estimator import TransferClassifier
from mri_transfer.training.folds import Folds

__all__ = [
    "RANDOM_TRUNK",
    "descriptor_baselines",
    "penalised_logistic",
    "random_trunk_baseline",
    "score_designs",
]


OUTLINE, HISTOGRAM = "head size and outline", "intensity histogram"
VOXELS, RANDOM_TRUNK = "voxel-wise linear SVM", "random frozen trunk"

#: Inverse penalties tried inside training patients.
_INVERSE_L2 = [0.001, 0.01, 0.1, 1.0]
_SVM_C = [0.1, 1.0, 10.0, 100.0]
_INNER_FOLDS = 3


def descriptor_baselines(
    descriptors: Sequence[ScanDescriptors],
    patient_ids: Sequence[str],
    *,
    folds: Folds,
    positive_label: str,
    negative_label: str,
    seed: int,
) -> dict[str, pd.DataFrame]:
    """Score every patient by models of outline, histogram and voxels.

    Parameters
    ----------
    descriptors : sequence of ScanDescriptors, length n_scans
    patient_ids : sequence of str, length n_scans
        Scans of one patient are averaged.
    folds : Folds
    positive_label, negative_label : str
    seed : int
        Of the folds inside training patients.

    Returns
    -------
    dict of str to DataFrame
        By the baseline's name, the columns of `predictions/patients.csv`.
    """
    return score_designs(
        _designs(descriptors, patient_ids),
        folds=folds,
        task=Task(positive=positive_label, negative=negative_label),
        seed=seed,
    )


def score_designs(
    designs: Mapping[str, tuple[pd.DataFrame, Any]], *, folds: Folds, task: Task, seed: int
) -> dict[str, pd.DataFrame]:
    """Score every patient by models of what is known of each of them.

    Parameters
    ----------
    designs : mapping of str to (DataFrame, estimator)
        By the baseline's name, a row a patient, and the model that is fitted to such rows.
    folds : Folds
    task : Task
    seed : int
        Of the folds inside training patients.

    Returns
    -------
    dict of str to DataFrame
        By the baseline's name, the columns of `predictions/patients.csv`.
    """
    table = _binary_folds(folds, task.positive, task.negative)
    # One thread sums in the same order on any number of cores.
    with threadpool_limits(limits=1):
        return {
            name: score_folds(
                model,
                functools.partial(_part_of, design),
                folds=table,
                task=task,
                n_inner_folds=_INNER_FOLDS,
                seed=seed,
            )
            for name, (design, model) in designs.items()
        }


def _designs(
    descriptors: Sequence[ScanDescriptors], patient_ids: Sequence[str]
) -> dict[str, tuple[pd.DataFrame, Any]]:
    """Return what each baseline sees of every patient, and its model."""
    outline = _patient_rows([descriptor.outline for descriptor in descriptors], patient_ids)
    histogram = _patient_rows([descriptor.histogram for descriptor in descriptors], patient_ids)
    voxels = _patient_rows([descriptor.voxels.ravel() for descriptor in descriptors], patient_ids)
    return {
        OUTLINE: (outline, penalised_logistic()),
        HISTOGRAM: (histogram, penalised_logistic()),
        VOXELS: (_rotated(voxels), _support_vectors()),
    }


def _part_of(
    design: pd.DataFrame, _place: tuple[int, int], train: pd.Series, test: pd.Series
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return a design's rows of training and test patients, for `score_folds`."""
    return design.loc[train], design.loc[test]


def random_trunk_baseline(
    estimator: TransferClassifier, data: LabelledFeatures, folds: Folds, *, seed: int
) -> pd.DataFrame:
    """Score every patient by the configured head on features of an untrained trunk.

    Parameters
    ----------
    estimator : TransferClassifier
        The configured one; it is fitted without its search.
    data : LabelledFeatures
        Of the untrained trunk.
    folds : Folds
    seed : int

    Returns
    -------
    DataFrame
        The columns of `predictions/patients.csv`.
    """
    unsearched = clone(estimator).set_params(search=None)
    return cross_validate(unsearched, data, folds, seed=seed).patients.table


def _binary_folds(folds: Folds, positive_label: str, negative_label: str) -> pd.DataFrame:
    """Return the table of folds with two labels."""
    table = folds.table()
    table["label"] = np.where(table["label"] == positive_label, positive_label, negative_label)
    return table


def _patient_rows(
    rows: Sequence[npt.NDArray[np.float32]], patient_ids: Sequence[str]
) -> pd.DataFrame:
    table = pd.DataFrame(np.stack(rows).astype(np.float64), index=list(patient_ids))
    return table.groupby(level=0).mean()


def _rotated(rows: pd.DataFrame) -> pd.DataFrame:
    """Write patients in the basis of their own span, each at unit length.

    A rotation: distances and inner products, all that a linear machine sees, stay as they are,
    while a hundred thousand voxels become as many columns as there are patients.
    """
    values = rows.to_numpy()
    values = values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-12)
    left, lengths, _ = np.linalg.svd(values, full_matrices=False)
    return pd.DataFrame(left * lengths, index=rows.index)


def penalised_logistic() -> Any:
    """Return a logistic regression on an array whose penalty is chosen inside what it is given."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(
        StandardScaler(), LogisticRegression(class_weight="balanced", max_iter=2000)
    )
    return _on_arrays(
        GridSearchCV(
            model,
            {"logisticregression__C": _INVERSE_L2},
            scoring="roc_auc",
            cv=_TrainingFolds(),
        )
    )


def _support_vectors() -> Any:
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.model_selection import GridSearchCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    machine = make_pipeline(
        StandardScaler(with_std=False), SVC(kernel="linear", class_weight="balanced")
    )
    search = GridSearchCV(machine, {"svc__C": _SVM_C}, scoring="roc_auc", cv=_TrainingFolds())
    # A margin is no probability: Platt's sigmoid on margins of training patients held out.
    return _on_arrays(
        CalibratedClassifierCV(search, method="sigmoid", cv=_TrainingFolds(), ensemble=False)
    )


class _TrainingFolds:
    """Folds of training patients by their label, fewer where a label has few, for scikit-learn.

    With one patient of a label nobody can be held out: all are then fitted on and looked at, and
    the penalty that is chosen is worth as little as such a cohort.
    """

    def split(
        self, rows: Any, labels: IntArray, groups: object = None
    ) -> Iterator[tuple[IntArray, IntArray]]:
        from sklearn.model_selection import StratifiedKFold

        n_folds = self.get_n_splits(rows, labels)
        if n_folds == 1:
            everybody = np.arange(len(labels))
            yield everybody, everybody
        else:
            yield from StratifiedKFold(n_folds).split(rows, labels)

    def get_n_splits(self, rows: Any, labels: IntArray, groups: object = None) -> int:
        return min(_INNER_FOLDS, int(np.bincount(labels).min()))


def _on_arrays(model: Any) -> Any:
    """Turn a table into an array once; inside, every step would look at each column again."""
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer

    return make_pipeline(FunctionTransformer(pd.DataFrame.to_numpy), model)
