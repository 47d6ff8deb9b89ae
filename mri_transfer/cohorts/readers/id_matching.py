"""Match ids of a table to those of images: spreadsheets remove leading zeros.

Ids are only matched if the caller allows it; otherwise the likely matches are reported.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from mri_transfer.cohorts.words import listed
from mri_transfer.errors import Fault

__all__ = ["PAD_IDS", "Key", "likely_ids", "likely_keys", "mismatch_fault", "mismatch_note"]

#: Patient and session; session None for values that apply to all sessions.
Key = tuple[str, str | None]

#: The remedy for ids that nearly match.
PAD_IDS = "Correct one of them, or match them with --pad-ids"

_LEADING_ZEROS = re.compile(r"(?<![0-9])0+(?=[0-9])")


def _plain(name: str) -> str:
    return _LEADING_ZEROS.sub("", name).casefold()


def likely_ids(table: Iterable[str], images: Iterable[str]) -> dict[str, str]:
    """Return the likely matches between the ids of a table and of images.

    Parameters
    ----------
    table, images : iterable of str

    Returns
    -------
    dict
        Id of the image by id of the table. The two differ only in leading zeros or case, neither
        has an exact match, and the match is unique.
    """
    named, known = set(table), set(images)
    forms: dict[str, tuple[list[str], list[str]]] = {}
    for side, names in enumerate((named - known, known - named)):
        for name in names:
            forms.setdefault(_plain(name), ([], []))[side].append(name)
    pairs = [sides for sides in forms.values() if len(sides[0]) == len(sides[1]) == 1]
    return {theirs: ours for [theirs], [ours] in sorted(pairs)}


def likely_keys(table: Iterable[Key], images: Iterable[Key]) -> dict[Key, Key]:
    """Return the likely matches between patients and sessions of a table and of images.

    Parameters
    ----------
    table, images : iterable of (patient, session or None)

    Returns
    -------
    dict
        In the table's order, without exact matches.
    """
    rows, scans = list(table), list(images)
    patients = likely_ids((name for name, _ in rows), (name for name, _ in scans))
    theirs, ours = (
        _sessions((patients.get(name, name), session) for name, session in keys)
        for keys in (rows, scans)
    )
    sessions = {name: likely_ids(theirs[name], ours.get(name, ())) for name in theirs}
    matches: dict[Key, Key] = {}
    for name, session in rows:
        patient = patients.get(name, name)
        visit = None if session is None else sessions[patient].get(session, session)
        if (patient, visit) != (name, session):
            matches[name, session] = (patient, visit)
    return matches


def _sessions(keys: Iterable[Key]) -> dict[str, set[str]]:
    sessions: dict[str, set[str]] = {}
    for patient, session in keys:
        if session is not None:
            sessions.setdefault(patient, set()).add(session)
    return sessions


def _spelt(matches: Mapping[Key, Key]) -> str:
    pairs = [
        f"{' '.join(filter(None, theirs))} (image: {' '.join(filter(None, ours))})"
        for theirs, ours in matches.items()
    ]
    return listed(pairs)


def mismatch_fault(matches: Mapping[Key, Key], *, row: int | None, column: str) -> Fault:
    """Return the fault for a table whose ids nearly match those of the images.

    Parameters
    ----------
    matches : mapping
        From `likely_keys`, not empty.
    row : int, optional
        The first affected line.
    column : str
        The column of the patient.
    """
    return Fault(
        "ids of patients or sessions differ from those of the images only in leading zeros or case",
        row=row,
        column=column,
        found=_spelt(matches),
        remedy=PAD_IDS,
    )


def mismatch_note(matches: Mapping[Key, Key], *, table: str) -> str:
    """Return a note on the ids of a table that were matched to images."""
    return f"{table}: ids matched in spite of leading zeros or case: {_spelt(matches)}."
