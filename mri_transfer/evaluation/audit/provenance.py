"""What a run's own records say about who was seen when: records, not promises.

Every fold's head lists the patients and the scans, with the digests of their files, that it was
fitted on. These lists are held against the folds, the features and the predictions of the run.
Nothing is trusted to be what its name says: a patient is recognised by id, a scan by id and by
content.
"""

from __future__ import annotations

import dataclasses
import functools
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pandas as pd

from mri_transfer.evaluation.audit.checks import CheckResult, Fault

__all__ = ["check_instances", "check_provenance", "check_trunk_unseen"]

#: How a head's facts may say that its threshold came from training patients or from nowhere.
_HONEST_SOURCES = ("training patients", "fixed by the configuration")

FoldKey = tuple[int, int]


def check_provenance(
    facts: Mapping[FoldKey, Mapping[str, Any]],
    *,
    folds: pd.DataFrame,
    features: pd.DataFrame,
    patients: pd.DataFrame,
    slices: pd.DataFrame,
    inner: pd.DataFrame | None = None,
) -> list[CheckResult]:
    """Hold the records of a run against each other.

    Parameters
    ----------
    facts : mapping of (repeat, fold) to mapping
        Each head's facts: `training_patients` (ids), `training_scans` (id to SHA-256 of the
        file), `threshold_from`.
    folds : DataFrame
        repeat, patient_id, fold, label (`folds.csv`).
    features : DataFrame
        scan_id, patient_id, scan_sha256 (`features.csv`).
    patients : DataFrame
        repeat, fold, patient_id (`predictions/patients.csv`).
    slices : DataFrame
        repeat, fold, patient_id, scan_id (`predictions/slices.csv`).
    inner : DataFrame, optional
        repeat, fold, patient_id: the inner scores that thresholds, recalibration and procedures
        were chosen on (`predictions/inner.csv`).

    Returns
    -------
    list of CheckResult
    """
    run = _Run(facts, folds, features)
    of_heads = {name: check.of(name, run) for name, check in _HEAD_CHECKS.items()}
    thresholds = of_heads.pop("thresholds_from_training")
    return [
        _folds_partition(folds),
        _one_head_a_fold(run),
        *of_heads.values(),
        _predictions_held_out(run, patients, slices),
        thresholds,
        *([] if inner is None else [_inner_is_training(run, inner)]),
    ]


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Head:
    """What a fold's head lists, and who trains and tests it by the folds."""

    key: FoldKey
    training_patients: set[str]
    training_scans: Mapping[str, str]
    threshold_from: str
    train: set[str]
    test: set[str]


class _Run:
    """The records, by fold."""

    def __init__(
        self,
        facts: Mapping[FoldKey, Mapping[str, Any]],
        folds: pd.DataFrame,
        features: pd.DataFrame,
    ) -> None:
        self.facts = facts
        self.patient_of = dict(zip(features["scan_id"], features["patient_id"], strict=True))
        self.sha256 = dict(zip(features["scan_id"], features["scan_sha256"], strict=True))
        self.scans_of: defaultdict[str, set[str]] = defaultdict(set)
        for scan, patient in self.patient_of.items():
            self.scans_of[patient].add(scan)
        self.test: defaultdict[FoldKey, set[str]] = defaultdict(set)
        self.everybody: defaultdict[int, set[str]] = defaultdict(set)
        for key, patient in _patients_by_fold(folds):
            self.test[key].add(patient)
            self.everybody[key[0]].add(patient)

    @functools.cached_property
    def heads(self) -> list[_Head]:
        """The head of each fold that has one."""
        return [self._head(key) for key in sorted(self.facts.keys() & self.test.keys())]

    def _head(self, key: FoldKey) -> _Head:
        facts, test = self.facts[key], self.test[key]
        return _Head(
            key=key,
            # A head without a list has not shown what it saw: all its training scans are missing.
            training_patients=set(facts.get("training_patients") or ()),
            training_scans=facts.get("training_scans") or {},
            threshold_from=str(facts.get("threshold_from")),
            train=self.everybody[key[0]] - test,
            test=test,
        )

    def digests(self, patients: set[str]) -> dict[str, str]:
        """Return the content of all scans of some patients, each with a scan that has it."""
        return {self.sha256[scan]: scan for name in patients for scan in self.scans_of[name]}


def _patients_by_fold(table: pd.DataFrame) -> list[tuple[FoldKey, str]]:
    """Return each patient that a table names with its repeat and fold, once."""
    rows = table[["repeat", "fold", "patient_id"]].drop_duplicates()
    return [
        ((int(repeat), int(fold)), str(patient))
        for repeat, fold, patient in rows.itertuples(index=False, name=None)
    ]


def _at(key: FoldKey, **fault: Any) -> Fault:
    return {"repeat": key[0], "fold": key[1], **fault}


def _folds_partition(folds: pd.DataFrame) -> CheckResult:
    times = pd.crosstab(folds["repeat"], folds["patient_id"])
    faults: list[Fault] = [
        {"repeat": int(repeat), "patient_id": str(name), "times": int(times.loc[repeat, name])}
        for repeat in times.index
        for name in times.columns[times.loc[repeat] != 1]
    ]
    return CheckResult.of(
        "folds_partition",
        faults,
        what="Every repeat holds each patient out exactly once",
        expected="each patient in one fold of each repeat",
        n_checked=len(folds),
    )


def _one_head_a_fold(run: _Run) -> CheckResult:
    return CheckResult.of(
        "one_head_a_fold",
        [
            _at(key, head=key in run.facts, fold_known=key in run.test)
            for key in sorted(run.facts.keys() ^ run.test.keys())
        ],
        what="Every fold has its head, and every head its fold",
        expected="the same (repeat, fold) among heads and folds",
        n_checked=len(run.facts.keys() | run.test.keys()),
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class _HeadCheck:
    """A check that is made of every fold's head: what it finds, and in words what it asks."""

    faults: Callable[[_Run, _Head], Iterator[Fault]]
    what: str
    expected: str

    def of(self, check: str, run: _Run) -> CheckResult:
        faults = [
            {"repeat": head.key[0], "fold": head.key[1], **fault}
            for head in run.heads
            for fault in self.faults(run, head)
        ]
        n_checked = len(run.heads)
        if check == "scans_as_recorded":
            n_checked = sum(len(head.training_scans) for head in run.heads)
        return CheckResult.of(
            check, faults, what=self.what, expected=self.expected, n_checked=n_checked
        )


def _test_patients_seen(run: _Run, head: _Head) -> Iterator[Fault]:
    for name in sorted(head.training_patients & head.test):
        yield {"patient_id": name}


def _test_scans_seen(run: _Run, head: _Head) -> Iterator[Fault]:
    held_out = run.digests(head.test)
    for scan, sha256 in sorted(head.training_scans.items()):
        # By id, by patient and by content: a copy under another name is the same scan.
        if run.patient_of.get(scan) in head.test:
            yield {"scan_id": scan, "patient_id": run.patient_of[scan], "by": "id"}
        elif sha256 in held_out:
            yield {"scan_id": scan, "same_as": held_out[sha256], "by": "sha256"}


def _training_unseen(run: _Run, head: _Head) -> Iterator[Fault]:
    for name in sorted(head.train - head.training_patients):
        yield {"patient_id": name, "seen": False}
    wanted = {scan for name in head.train for scan in run.scans_of[name]}
    for scan in sorted(wanted - set(head.training_scans)):
        yield {"scan_id": scan, "seen": False}


def _scans_unlike_features(run: _Run, head: _Head) -> Iterator[Fault]:
    for scan, sha256 in sorted(head.training_scans.items()):
        if run.sha256.get(scan) != sha256:
            yield {"scan_id": scan, "sha256": sha256, "features": run.sha256.get(scan)}


def _sessions_apart(run: _Run, head: _Head) -> Iterator[Fault]:
    """Hold what a head lists against all scans of those patients."""
    listed = set(head.training_scans)
    for name in sorted({run.patient_of[scan] for scan in listed if scan in run.patient_of}):
        scans = run.scans_of[name]
        if len(scans) > 1 and (not scans <= listed or name in head.test):
            yield {"patient_id": name, "scans": sorted(scans)}


def _content_on_both_sides(run: _Run, head: _Head) -> Iterator[Fault]:
    seen, held_out = run.digests(head.train), run.digests(head.test)
    for sha256 in sorted(seen.keys() & held_out.keys()):
        yield {
            "sha256": sha256,
            "training_scan": seen[sha256],
            "test_scan": held_out[sha256],
        }


def _threshold_from_elsewhere(run: _Run, head: _Head) -> Iterator[Fault]:
    if not head.threshold_from.endswith(_HONEST_SOURCES):
        yield {"threshold_from": head.threshold_from}


#: By the check's stable name.
_HEAD_CHECKS = {
    "no_test_patient_seen": _HeadCheck(
        faults=_test_patients_seen,
        what="No head lists a patient it is tested on",
        expected="training_patients without the patients of the fold",
    ),
    "no_test_scan_seen": _HeadCheck(
        faults=_test_scans_seen,
        what="No head lists a scan of a patient it is tested on, by name or by content",
        expected="training_scans of training patients only",
    ),
    "all_training_seen": _HeadCheck(
        faults=_training_unseen,
        what="Every head lists all training patients of its fold and all their scans",
        expected="no training patient or scan left out",
    ),
    "scans_as_recorded": _HeadCheck(
        faults=_scans_unlike_features,
        what="The scans a head lists are the scans the features were made from",
        expected="the digests of features.csv",
    ),
    "sessions_together": _HeadCheck(
        faults=_sessions_apart,
        what="All scans of a patient are on one side of every split",
        expected="all scans of a patient listed by a head, or none",
    ),
    "no_content_on_both_sides": _HeadCheck(
        faults=_content_on_both_sides,
        what="No file's content is on both sides of a split, under whatever name",
        expected="digests of training and test scans disjoint",
    ),
    "thresholds_from_training": _HeadCheck(
        faults=_threshold_from_elsewhere,
        what="Every threshold is recorded as chosen on training patients, or as fixed",
        expected=" or ".join(_HONEST_SOURCES),
    ),
}


def _predictions_held_out(run: _Run, patients: pd.DataFrame, slices: pd.DataFrame) -> CheckResult:
    faults = []
    for name, table in (("patients", patients), ("slices", slices)):
        faults += [
            _at(key, patient_id=patient, table=name)
            for key, patient in _patients_by_fold(table)
            if patient not in run.test.get(key, set())
        ]
    owners = slices[["patient_id", "scan_id"]].drop_duplicates()
    faults += [
        {"patient_id": patient, "scan_id": scan, "table": "slices"}
        for patient, scan in owners.itertuples(index=False, name=None)
        if run.patient_of.get(scan) != patient
    ]
    return CheckResult.of(
        "predictions_held_out",
        faults,
        what="A head's scores are of patients that its fold holds out, and of nobody else",
        expected="patients of the fold",
        n_checked=len(patients) + len(slices),
    )


def _inner_is_training(run: _Run, inner: pd.DataFrame) -> CheckResult:
    rows = _patients_by_fold(inner)
    return CheckResult.of(
        "inner_scores_of_training",
        [
            _at(key, patient_id=patient)
            for key, patient in rows
            if patient in run.test.get(key, {patient})
        ],
        what="What is chosen inside a fold is chosen on scores of training patients",
        expected="no inner score of a patient that the fold holds out",
        n_checked=len(rows),
    )


def check_instances(
    facts: Mapping[FoldKey, Mapping[str, Any]], *, features: pd.DataFrame, slices: pd.DataFrame
) -> list[CheckResult]:
    """Check that instances of another cohort were trained on and nothing else.

    Parameters
    ----------
    facts : mapping of (repeat, fold) to mapping
        Each head's facts; `instances` lists `patients` and `scans` (id to SHA-256 of the file).
    features : DataFrame
        scan_id, patient_id, scan_sha256 of the cohort (`features.csv`).
    slices : DataFrame
        patient_id, scan_id: who was scored (`predictions/slices.csv`).

    Returns
    -------
    list of CheckResult
        Empty where no head lists any.
    """
    listed = {key: one["instances"] for key, one in facts.items() if one.get("instances")}
    if not listed:
        return []
    own, scored = set(features["patient_id"]), set(slices["patient_id"])
    content = dict(zip(features["scan_sha256"], features["scan_id"], strict=True))
    faults: list[Fault] = []
    for key, instances in sorted(listed.items()):
        faults += [
            _at(key, patient_id=name, by="id")
            for name in sorted(set(instances["patients"]) & (own | scored))
        ]
        faults += [
            _at(key, scan_id=scan, same_as=content[sha256], by="sha256")
            for scan, sha256 in sorted(instances["scans"].items())
            if sha256 in content
        ]
    same = {repr(sorted(one["scans"].items())) for one in listed.values()}
    if len(same) > 1 or len(listed) < len(facts):
        faults += [_at(key, instances=key in listed) for key in sorted(facts)]
    return [
        CheckResult.of(
            "instances_only_trained_on",
            faults,
            what="Instances of another cohort are the same in every fold, and none of them is a "
            "patient or a scan of this cohort, by name or by content",
            expected="patients and digests disjoint; the same list beside every head",
            n_checked=sum(len(one["patients"]) for one in listed.values()),
        )
    ]


def check_trunk_unseen(shared: Mapping[str, str], *, n_scans: int) -> CheckResult:
    """Check that a trunk that was trained on scans was trained on none of this cohort.

    Parameters
    ----------
    shared : mapping of str to str
        By what each scan was found that took part, as `SeenScans.shared` returns it.
    n_scans : int
        Of the cohort.
    """
    return CheckResult.of(
        "trunk_unseen",
        [{"scan_id": scan, "by": by} for scan, by in shared.items()],
        what="The trunk's weights were trained on no scan and no patient of this cohort, by "
        "content and by name",
        expected="digests of files and names of patients disjoint",
        n_checked=n_scans,
    )
