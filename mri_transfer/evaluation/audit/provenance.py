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

from mri_transfer.evaluation.audit.checks import Check, Found

__all__ = ["check_provenance"]

#: How a head's facts may say that its threshold came from training patients or from nowhere.
_HONEST_SOURCES = ("training patients", "fixed by the configuration")

Place = tuple[int, int]


def check_provenance(
    facts: Mapping[Place, Mapping[str, Any]],
    *,
    folds: pd.DataFrame,
    features: pd.DataFrame,
    patients: pd.DataFrame,
    slices: pd.DataFrame,
    inner: pd.DataFrame | None = None,
) -> list[dict[str, Any]]:
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
    list of dict
        Checks: `check`, `passed`, `what`, `expected`, `found`, `n_found`, `n_checked`.
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
        _predictions_patients_by_fold(run, patients, slices),
        _thresholds_from_training(run),
    ]
    if inner is not None:
        checks.append(_inner_is_training(run, inner))
    return [check.as_dict() for check in checks]


class _Run:
    """The records, by fold."""

    def __init__(
        self,
        facts: Mapping[Place, Mapping[str, Any]],
        folds: pd.DataFrame,
        features: pd.DataFrame,
    ) -> None:
        self.facts = facts
        self.owner = dict(zip(features["scan_id"], features["patient_id"], strict=True))
        self.sha256 = dict(zip(features["scan_id"], features["scan_sha256"], strict=True))
        self.scans_of: defaultdict[str, set[str]] = defaultdict(set)
        for scan, patient in self.owner.items():
            self.scans_of[patient].add(scan)
        self.test: defaultdict[Place, set[str]] = defaultdict(set)
        self.everybody: defaultdict[int, set[str]] = defaultdict(set)
        for place, patient in _patients_by_fold(folds):
            self.test[place].add(patient)
            self.everybody[place[0]].add(patient)

    def __iter__(self) -> Iterator[tuple[Place, Mapping[str, Any], set[str], set[str]]]:
        """Give each fold that has a head: its place, facts, training and test patients."""
        for place in sorted(self.facts.keys() & self.test.keys()):
            test, facts = self.test[place], self.facts[place]
            # A head without a list has not shown what it saw: all its training scans are missing.
            seen = {name: facts.get(name) or {} for name in ("training_patients", "training_scans")}
            yield place, {**facts, **seen}, self.everybody[place[0]] - test, test

    def __len__(self) -> int:
        return len(self.facts.keys() & self.test.keys())

    def digests(self, patients: set[str]) -> dict[str, str]:
        """Return the content of all scans of some patients, each with a scan that has it."""
        return {self.sha256[scan]: scan for one in patients for scan in self.scans_of[one]}


def _patients_by_fold(table: pd.DataFrame) -> list[tuple[Place, str]]:
    """Return each patient that a table names with its repeat and fold, once."""
    rows = table[["repeat", "fold", "patient_id"]].drop_duplicates()
    return [
        ((int(repeat), int(fold)), str(patient))
        for repeat, fold, patient in rows.itertuples(index=False, name=None)
    ]


def _at(place: Place, **found: Any) -> Found:
    return {"repeat": place[0], "fold": place[1], **found}


def _folds_partition(folds: pd.DataFrame) -> Check:
    times = pd.crosstab(folds["repeat"], folds["patient_id"])
    found: list[Found] = [
        {"repeat": int(repeat), "patient_id": str(name), "times": int(times.loc[repeat, name])}
        for repeat in times.index
        for name in times.columns[times.loc[repeat] != 1]
    ]
    return Check.of(
        "folds_partition",
        found,
        what="Every repeat holds each patient out exactly once",
        expected="each patient in one fold of each repeat",
        n_checked=len(folds),
    )


def _one_head_a_fold(run: _Run) -> Check:
    return Check.of(
        "one_head_a_fold",
        [
            _at(place, head=place in run.facts, fold_known=place in run.test)
            for place in sorted(run.facts.keys() ^ run.test.keys())
        ],
        what="Every fold has its head, and every head its fold",
        expected="the same (repeat, fold) among heads and folds",
        n_checked=len(run.facts.keys() | run.test.keys()),
    )


def _no_test_patient_seen(run: _Run) -> Check:
    return Check.of(
        "no_test_patient_seen",
        [
            _at(place, patient_id=name)
            for place, facts, _, test in run
            for name in sorted(set(facts["training_patients"]) & test)
        ],
        what="No head lists a patient it is tested on",
        expected="training_patients without the patients of the fold",
        n_checked=len(run),
    )


def _no_test_scan_seen(run: _Run) -> Check:
    found = []
    for place, facts, _, test in run:
        held_out = run.digests(test)
        for scan, sha256 in sorted(facts["training_scans"].items()):
            # By id, by owner and by content: a copy under another name is the same scan.
            if run.owner.get(scan) in test:
                found.append(_at(place, scan_id=scan, patient_id=run.owner[scan], by="id"))
            elif sha256 in held_out:
                found.append(_at(place, scan_id=scan, same_as=held_out[sha256], by="sha256"))
    return Check.of(
        "no_test_scan_seen",
        found,
        what="No head lists a scan of a patient it is tested on, by name or by content",
        expected="training_scans of training patients only",
        n_checked=len(run),
    )


def _all_training_seen(run: _Run) -> Check:
    found = []
    for place, facts, train, _ in run:
        listed = set(facts["training_patients"])
        found += [_at(place, patient_id=name, seen=False) for name in sorted(train - listed)]
        wanted = {scan for name in train for scan in run.scans_of[name]}
        missing = wanted - set(facts["training_scans"])
        found += [_at(place, scan_id=scan, seen=False) for scan in sorted(missing)]
    return Check.of(
        "all_training_seen",
        found,
        what="Every head lists all training patients of its fold and all their scans",
        expected="no training patient or scan left out",
        n_checked=len(run),
    )


def _scans_as_recorded(run: _Run) -> Check:
    return Check.of(
        "scans_as_recorded",
        [
            _at(place, scan_id=scan, sha256=sha256, features=run.sha256.get(scan))
            for place, facts, _, _ in run
            for scan, sha256 in sorted(facts["training_scans"].items())
            if run.sha256.get(scan) != sha256
        ],
        what="The scans a head lists are the scans the features were made from",
        expected="the digests of features.csv",
        n_checked=sum(len(facts["training_scans"]) for _, facts, _, _ in run),
    )


def _sessions_together(run: _Run) -> Check:
    """Hold what each head lists against all scans of those patients."""
    found = []
    for place, facts, _, test in run:
        seen = {run.owner[scan] for scan in facts["training_scans"] if scan in run.owner}
        partly = [
            name
            for name in sorted(seen)
            if not run.scans_of[name] <= set(facts["training_scans"]) or name in test
        ]
        found += [
            _at(place, patient_id=name, scans=sorted(run.scans_of[name]))
            for name in partly
            if len(run.scans_of[name]) > 1
        ]
    return Check.of(
        "sessions_together",
        found,
        what="All scans of a patient are on one side of every split",
        expected="all scans of a patient listed by a head, or none",
        n_checked=len(run),
    )


def _no_content_on_both_sides(run: _Run) -> Check:
    found = []
    for place, _, train, test in run:
        seen, held_out = run.digests(train), run.digests(test)
        found += [
            _at(place, sha256=sha256, training_scan=seen[sha256], test_scan=held_out[sha256])
            for sha256 in sorted(seen.keys() & held_out.keys())
        ]
    return Check.of(
        "no_content_on_both_sides",
        found,
        what="No file's content is on both sides of a split, under whatever name",
        expected="digests of training and test scans disjoint",
        n_checked=len(run),
    )


def _predictions_patients_by_fold(run: _Run, patients: pd.DataFrame, slices: pd.DataFrame) -> Check:
    found = []
    for name, table in (("patients", patients), ("slices", slices)):
        found += [
            _at(place, patient_id=patient, table=name)
            for place, patient in _patients_by_fold(table)
            if patient not in run.test.get(place, set())
        ]
    owners = slices[["patient_id", "scan_id"]].drop_duplicates()
    found += [
        {"patient_id": patient, "scan_id": scan, "table": "slices"}
        for patient, scan in owners.itertuples(index=False, name=None)
        if run.owner.get(scan) != patient
    ]
    return Check.of(
        "predictions_held_out",
        found,
        what="A head's scores are of patients that its fold holds out, and of nobody else",
        expected="patients of the fold",
        n_checked=len(patients) + len(slices),
    )


def _thresholds_from_training(run: _Run) -> Check:
    return Check.of(
        "thresholds_from_training",
        [
            _at(place, threshold_from=str(facts.get("threshold_from")))
            for place, facts, _, _ in run
            if not str(facts.get("threshold_from")).endswith(_HONEST_SOURCES)
        ],
        what="Every threshold is recorded as chosen on training patients, or as fixed",
        expected=" or ".join(_HONEST_SOURCES),
        n_checked=len(run),
    )


def _inner_is_training(run: _Run, inner: pd.DataFrame) -> Check:
    rows = _patients_by_fold(inner)
    return Check.of(
        "inner_scores_of_training",
        [
            _at(place, patient_id=patient)
            for place, patient in rows
            if patient in run.test.get(place, {patient})
        ],
        what="What is chosen inside a fold is chosen on scores of training patients",
        expected="no inner score of a patient that the fold holds out",
        n_checked=len(rows),
    )
