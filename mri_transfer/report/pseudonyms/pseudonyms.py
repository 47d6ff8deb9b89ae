"""A report under pseudonyms, so that it can leave the hospital.

Names are replaced once, in what a report is made of (`ReportInputs`), so that page, print and JSON
cannot differ. What is left out and made coarse follows the list of identifiers of the HIPAA Privacy
Rule's safe harbour (45 CFR 164.514(b)(2)): names and numbers of patients, dates, devices, places,
and ages over 89, which become one group. It is no proof that nobody can be recognised: that is for
the institution to judge.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
import pandas as pd

from mri_transfer.core.documents import Document
from mri_transfer.report.inputs import Provenance, ReportInputs
from mri_transfer.report.pseudonyms.pseudonym_names import Pseudonyms, make_pseudonyms

__all__ = ["cohort_pseudonyms", "pseudonymise"]

#: HIPAA safe harbour: ages over 89 are one group.
_TOP_AGE = 90.0
_TOP_AGE_TEXT = "90 or more"
_PATIENT_COLUMNS, _SCAN_COLUMNS = ("patient_id", "neighbour_id"), ("scan_id",)
#: A key so called holds ids, whatever stands in them.
_PATIENT_KEYS = frozenset({"patient_id", "patient_ids", "neighbour_id", "patient_a", "patient_b"})
_SCAN_KEYS = frozenset({"scan_id", "scan_ids", "scan_a", "scan_b", "keep"})
_SESSION_KEYS = frozenset({"session_id", "session_ids"})
#: Below these keys stands what was found on single scans, in any form.
_DATA_KEYS = frozenset({"found", "identical_files"})
#: Folders of a run whose files are called after scans, with a digest of the scan's id that could be
#: found again by trying; they are not handed on, so their digests need not be.
_FOLDERS_OF_SCANS = ("quality/", "prepared/")
#: An entry that says which covariate a record is about.
_SELECTORS = ("group", "covariate", "target")
#: Words in the name of a column that is left out.
_IDENTIFYING = re.compile(
    r"(?:^|[_\s-])(?:accession|address|birth|birthday|birthdate|city|comments?|county|date|day|"
    r"device|dob|e?mail|hospital|id|institution|mrn|name|notes?|operator|phone|physician|postcode|"
    r"serial|station|street|surname|town|uid|url|ward|year|zip)(?:$|[_\s-])",
    re.IGNORECASE,
)
#: A text column with more different values than this, or with more than one for two patients,
#: describes patients and not groups of them.
_MAX_LEVELS = 12


def cohort_pseudonyms(
    inputs: ReportInputs, *, key: bytes, source: pd.DataFrame | None = None
) -> Pseudonyms:
    """Return pseudonyms for every name in a report's inputs.

    Parameters
    ----------
    inputs : ReportInputs
    key : bytes
        Secret; `pseudonym_key.read_or_make_key`.
    source : DataFrame, optional
        The manifest's scans as they came in: `patient_id`, `session_id`, `scan_id`, `path`. It
        names those who were left out, and paths that may stand in messages.

    Raises
    ------
    RunFolderError
        If two names get the same pseudonym.
    """
    frames = [inputs.patients.reset_index(names="patient_id"), *_frames(inputs).values()]
    if inputs.explanation is not None:
        frames.append(inputs.explanation.neighbours)
        frames.append(pd.DataFrame({"scan_id": list(inputs.explanation.scan_ids)}))
    if source is not None:
        frames.append(source)
    return make_pseudonyms(
        key,
        patients=_values(frames, _PATIENT_COLUMNS),
        scans=_values(frames, _SCAN_COLUMNS),
        sessions=_values(frames, ("session_id",)),
        paths=_values(frames, ("path",)),
        places={kind: set(_values(frames, (kind,))) for kind in ("site", "scanner")},
        labels={*inputs.task.labels, *_values(frames, ("label",))},
    )


def pseudonymise(inputs: ReportInputs, pseudonyms: Pseudonyms) -> ReportInputs:
    """Return the same inputs with no name of a patient, scan, session, site or scanner in them.

    Tables are sorted by pseudonym, since their old order tells the order of the names. Dates and
    paths are cut out of texts; ages over 89 become 90; columns of the manifest that may identify
    someone are left out: by their name (dates, places, numbers, free text) or because their texts
    differ from patient to patient.

    A name that is also a word or a short number (`pseudonym_names.is_word`), such as `1`, `AD` or
    `patient`, is replaced wherever an id stands and in messages on scans; that the same letters
    occur elsewhere in the report says nothing about the patient.
    """
    walk = _Walk(pseudonyms, dropped=frozenset(_identifying_columns(inputs.patients)))
    frames: dict[str, Any] = {
        name: _frame(table, pseudonyms) for name, table in _frames(inputs).items()
    }
    excluded = frames["excluded"]
    if len(excluded):
        frames["excluded"] = excluded.assign(reason=excluded["reason"].map(pseudonyms.in_data))
    how = {
        "made by": "HMAC-SHA-256 with a secret key, 40 bits as base32",
        "covariates left out": ", ".join(sorted(walk.dropped)) or "none",
        "ages from 90 on": "one group",
    }
    known = inputs.provenance
    provenance = known and Provenance(
        **{**walk.value(dataclasses.asdict(known)), "pseudonyms": how}
    )
    return dataclasses.replace(
        inputs,
        title=pseudonyms.in_prose(inputs.title),
        evaluation=_document(inputs.evaluation, walk),
        audit=None if inputs.audit is None else _document(inputs.audit, walk),
        patients=_patients(inputs.patients, pseudonyms, walk.dropped),
        settings=dataclasses.replace(inputs.settings, every=walk.value(inputs.settings.every)),
        provenance=provenance,
        artefacts={
            path: sha256
            for path, sha256 in inputs.artefacts.items()
            if not path.startswith(_FOLDERS_OF_SCANS) and pseudonyms.in_data(path) == path
        },
        stack_of=_stacks(inputs, pseudonyms),
        explanation=_explanation(inputs, pseudonyms, walk),
        feature_maps=inputs.feature_maps
        and dataclasses.replace(
            inputs.feature_maps, document=_document(inputs.feature_maps.document, walk)
        ),
        ventricles={pseudonyms.of(name): share for name, share in inputs.ventricles.items()},
        pseudonymous=True,
        **frames,
    )


D = TypeVar("D", bound=Document)


def _document(document: D, walk: _Walk) -> D:
    return type(document).model_validate(walk.value(document.plain()))


class _Walk:
    """Goes through a document of JSON values and replaces names."""

    def __init__(self, pseudonyms: Pseudonyms, *, dropped: frozenset[str]) -> None:
        self.pseudonyms = pseudonyms
        self.dropped = dropped

    def value(self, value: Any, *, data: bool = False, place: str | None = None) -> Any:
        """Return a value with names replaced.

        `data` says that it was found on single scans; `place` that it is about sites or scanners.
        """
        if isinstance(value, str):
            return self._text(value, data=data, place=place)
        if isinstance(value, Mapping):
            return self._mapping(value, data=data, place=place)
        if isinstance(value, Sequence) and not isinstance(value, bytes):
            return [self.value(one, data=data, place=place) for one in value]
        return value

    def _text(self, text: str, *, data: bool, place: str | None) -> str:
        if place is not None and text in self.pseudonyms.places[place]:
            return self.pseudonyms.places[place][text]
        return self.pseudonyms.in_data(text) if data else self.pseudonyms.in_prose(text)

    def _mapping(
        self, found: Mapping[str, Any], *, data: bool, place: str | None
    ) -> dict[str, Any]:
        chosen = {str(found.get(name)) for name in _SELECTORS} & self.pseudonyms.places.keys()
        place = next(iter(chosen), place)
        result = {}
        for key, value in found.items():
            name = str(key) if key in _SELECTORS else self._text(str(key), data=data, place=place)
            result[name] = self._entry(str(key), value, data=data, place=place)
        return result

    def _entry(self, key: str, value: Any, *, data: bool, place: str | None) -> Any:
        kinds = ((_PATIENT_KEYS, "P"), (_SCAN_KEYS, "S"), (_SESSION_KEYS, "V"))
        for keys, prefix in kinds:
            if key in keys:
                return self._ids(value, prefix)
        if key in _SELECTORS and isinstance(value, str):
            return value
        if key == "age" and isinstance(value, int | float) and value >= _TOP_AGE:
            return _TOP_AGE_TEXT
        if key == "covariates" and isinstance(value, Mapping):
            value = {name: one for name, one in value.items() if name not in self.dropped}
        place = key if key in self.pseudonyms.places else place
        return self.value(value, data=data or key in _DATA_KEYS, place=place)

    def _ids(self, value: Any, prefix: str) -> Any:
        if isinstance(value, str):
            return self.pseudonyms.of(value, prefix)
        if isinstance(value, Sequence):
            return [self._ids(one, prefix) for one in value]
        return self.value(value, data=True)


def _frames(inputs: ReportInputs) -> dict[str, pd.DataFrame]:
    names = ("excluded", "patient_scores", "slice_scores", "quality", "folds", "scans")
    found = {name: getattr(inputs, name) for name in names}
    return {name: table for name, table in found.items() if table is not None}


def _values(frames: Sequence[pd.DataFrame], columns: Sequence[str]) -> list[str]:
    return [
        str(value)
        for table in frames
        for column in columns
        if column in table
        for value in table[column].dropna().unique()
    ]


def _frame(table: pd.DataFrame, pseudonyms: Pseudonyms) -> pd.DataFrame:
    """Replace the ids of a table and sort it by them; texts are cleaned."""
    changed = table.copy()
    for name in table.columns:
        if name in (*_PATIENT_COLUMNS, *_SCAN_COLUMNS):
            prefix = "S" if name in _SCAN_COLUMNS else "P"
            changed[name] = [pseudonyms.of(str(one), prefix) for one in table[name]]
        elif name in ("reasons", "turn"):
            changed[name] = [pseudonyms.in_prose(str(one)) for one in table[name].fillna("")]
    keys = ["repeat", "patient_id", "scan_id", "rank", "slice"]
    return changed.sort_values([name for name in keys if name in changed]).reset_index(drop=True)


def _identifying_columns(patients: pd.DataFrame) -> Iterator[str]:
    for column in patients.columns:
        name = str(column)
        if name in ("label", "age", "sex", "site", "scanner"):
            continue
        values = patients[column].dropna()
        most = min(_MAX_LEVELS, len(values) // 2)
        free = not pd.api.types.is_numeric_dtype(values) and values.nunique() > most
        if free or _IDENTIFYING.search(name):
            yield name


def _patients(
    patients: pd.DataFrame, pseudonyms: Pseudonyms, dropped: frozenset[str]
) -> pd.DataFrame:
    changed = patients.drop(columns=list(dropped)).copy()
    changed.index = pd.Index([pseudonyms.of(str(one)) for one in patients.index], name="patient_id")
    for kind, numbers in pseudonyms.places.items():
        if kind in changed:
            # An empty cell is no site and stays empty.
            named = changed[kind].map(lambda one, n=numbers: n.get(str(one), one))
            changed[kind] = named.astype(patients[kind].dtype)
    for name in changed.columns:
        if name in ("label", *pseudonyms.places):
            continue
        if not pd.api.types.is_numeric_dtype(changed[name]):
            changed[name] = changed[name].map(pseudonyms.in_prose, na_action="ignore")
        elif "age" in str(name).lower().split("_"):
            changed[name] = changed[name].clip(upper=_TOP_AGE)
    return changed.sort_index()


def _stacks(inputs: ReportInputs, pseudonyms: Pseudonyms) -> Any:
    if inputs.stack_of is None:
        return None
    read = inputs.stack_of
    scans = set(_values([*_frames(inputs).values()], _SCAN_COLUMNS))
    real = {pseudonyms.of(name, "S"): name for name in scans}
    return lambda scan_id: dataclasses.replace(read(real[scan_id]), scan_id=scan_id)


def _explanation(inputs: ReportInputs, pseudonyms: Pseudonyms, walk: _Walk) -> Any:
    found = inputs.explanation
    if found is None:
        return None
    names = [pseudonyms.of(name, "S") for name in found.scan_ids]
    order = np.argsort(np.array(names, dtype=object), kind="stable")
    return dataclasses.replace(
        found,
        document=_document(found.document, walk),
        scan_ids=tuple(names[i] for i in order),
        maps=found.maps[order],
        slice_weights=found.slice_weights[order],
        neighbours=_frame(found.neighbours, pseudonyms),
    )
