"""What a run's own records say about who was seen when: records, not promises.

Every fold's head lists the patients and the scans, with the digests of their files, that it was
fitted on. These lists are held against the folds, the features and the predictions of the run.
Nothing is trusted to be what its name says: a patient is recognised by id, a scan by id and by
content.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from mri_transfer.evaluation.audit.checks import CheckResult, Fault

__all__ = ["check_provenance"]

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
    checks = [
        _folds_partition(folds),
        _one_head_a_fold(run),
        _no_test_patient_seen(run),
        _no_test_scan_seen(run),
        _all_training_seen(run),
        _scans_as_recorded(run),
        _sessions_together(run),
        _no_content_on_both_sides(run),
        _predictions_held_out(run, patients, slices),
        _thresholds_from_training(run),
    ]
    if inner is not None:
        checks.append(_inner_is_training(run, inner))
    return checks


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

    def __iter__(self) -> Iterator[tuple[FoldKey, Mapping[str, Any], set[str], set[str]]]:
        """Give each fold that has a head: its key, facts, training and test patients."""
        for key in sorted(self.facts.keys() & self.test.keys()):
            test, facts = self.test[key], self.facts[key]
            # A head without a list has not shown what it saw: all its training scans are missing.
            seen = {name: facts.get(name) or {} for name in ("training_patients", "training_scans")}
            yield key, {**facts, **seen}, self.everybody[key[0]] - test, test

    def __len__(self) -> int:
        return len(self.facts.keys() & self.test.keys())

    def digests(self, patients: set[str]) -> dict[str, str]:
        """Return the content of all scans of some patients, each with a scan that has it."""
        return {self.sha256[scan]: scan for one in patients for scan in self.scans_of[one]}


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


def _no_test_patient_seen(run: _Run) -> CheckResult:
    return CheckResult.of(
        "no_test_patient_seen",
        [
            _at(key, patient_id=name)
            for key, facts, _, test in run
            for name in sorted(set(facts["training_patients"]) & test)
        ],
        what="No head lists a patient it is tested on",
        expected="training_patients without the patients of the fold",
        n_checked=len(run),
    )


def _no_test_scan_seen(run: _Run) -> CheckResult:
    faults = []
    for key, facts, _, test in run:
        held_out = run.digests(test)
        for scan, sha256 in sorted(facts["training_scans"].items()):
            # By id, by owner and by content: a copy under another name is the same scan.
            if run.patient_of.get(scan) in test:
                faults.append(_at(key, scan_id=scan, patient_id=run.patient_of[scan], by="id"))
            elif sha256 in held_out:
                faults.append(_at(key, scan_id=scan, same_as=held_out[sha256], by="sha256"))
    return CheckResult.of(
        "no_test_scan_seen",
        faults,
        what="No head lists a scan of a patient it is tested on, by name or by content",
        expected="training_scans of training patients only",
        n_checked=len(run),
    )


def _all_training_seen(run: _Run) -> CheckResult:
    faults = []
    for key, facts, train, _ in run:
        listed = set(facts["training_patients"])
        faults += [_at(key, patient_id=name, seen=False) for name in sorted(train - listed)]
        wanted = {scan for name in train for scan in run.scans_of[name]}
        missing = wanted - set(facts["training_scans"])
        faults += [_at(key, scan_id=scan, seen=False) for scan in sorted(missing)]
    return CheckResult.of(
        "all_training_seen",
        faults,
        what="Every head lists all training patients of its fold and all their scans",
        expected="no training patient or scan left out",
        n_checked=len(run),
    )


def _scans_as_recorded(run: _Run) -> CheckResult:
    return CheckResult.of(
        "scans_as_recorded",
        [
            _at(key, scan_id=scan, sha256=sha256, features=run.sha256.get(scan))
            for key, facts, _, _ in run
            for scan, sha256 in sorted(facts["training_scans"].items())
            if run.sha256.get(scan) != sha256
        ],
        what="The scans a head lists are the scans the features were made from",
        expected="the digests of features.csv",
        n_checked=sum(len(facts["training_scans"]) for _, facts, _, _ in run),
    )


def _sessions_together(run: _Run) -> CheckResult:
    """Hold what each head lists against all scans of those patients."""
    faults = []
    for key, facts, _, test in run:
        seen = {run.patient_of[scan] for scan in facts["training_scans"] if scan in run.patient_of}
        partly = [
            name
            for name in sorted(seen)
            if not run.scans_of[name] <= set(facts["training_scans"]) or name in test
        ]
        faults += [
            _at(key, patient_id=name, scans=sorted(run.scans_of[name]))
            for name in partly
            if len(run.scans_of[name]) > 1
        ]
    return CheckResult.of(
        "sessions_together",
        faults,
        what="All scans of a patient are on one side of every split",
        expected="all scans of a patient listed by a head, or none",
        n_checked=len(run),
    )


def _no_content_on_both_sides(run: _Run) -> CheckResult:
    faults = []
    for key, _, train, test in run:
        seen, held_out = run.digests(train), run.digests(test)
        faults += [
            _at(key, sha256=sha256, training_scan=seen[sha256], test_scan=held_out[sha256])
            for sha256 in sorted(seen.keys() & held_out.keys())
        ]
    return CheckResult.of(
        "no_content_on_both_sides",
        faults,
        what="No file's content is on both sides of a split, under whatever name",
        expected="digests of training and test scans disjoint",
        n_checked=len(run),
    )


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


def _thresholds_from_training(run: _Run) -> CheckResult:
    return CheckResult.of(
        "thresholds_from_training",
        [
            _at(key, threshold_from=str(facts.get("threshold_from")))
            for key, facts, _, _ in run
            if not str(facts.get("threshold_from")).endswith(_HONEST_SOURCES)
        ],
        what="Every threshold is recorded as chosen on training patients, or as fixed",
        expected=" or ".join(_HONEST_SOURCES),
        n_checked=len(run),
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
