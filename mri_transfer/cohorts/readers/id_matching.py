"""Ids of a table that are most likely those of images: spreadsheets take leading zeros away.

Nothing is taken for the same unless the caller asks for it: a likely match is proposed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from mri_transfer.cohorts.words import listed
from mri_transfer.errors import Fault

__all__ = ["PAD_IDS", "Key", "likely_ids", "likely_keys", "mismatch_fault", "mismatch_note"]

#: Patient and session; session None for what holds in all sessions.
Key = tuple[str, str | None]

#: What to do about ids that nearly match, in the words of all readers.
PAD_IDS = "Correct one of them, or have them taken for the same with --pad-ids"

_LEADING_ZEROS = re.compile(r"(?<![0-9])0+(?=[0-9])")


def _plain(name: str) -> str:
    return _LEADING_ZEROS.sub("", name).casefold()


def likely_ids(table: Iterable[str], images: Iterable[str]) -> dict[str, str]:
    """Return which ids of a table are most likely which ids of images.

    Parameters
    ----------
    table, images : iterable of str

    Returns
    -------
    dict
        An id of the table to one of the images. The two differ in leading zeros or capitals
        alone, neither is found on the other side as it is, and no other pair has that form.
    """
    named, known = set(table), set(images)
    forms: dict[str, tuple[list[str], list[str]]] = {}
    for place, names in enumerate((named - known, known - named)):
        for name in names:
            forms.setdefault(_plain(name), ([], []))[place].append(name)
    pairs = [sides for sides in forms.values() if len(sides[0]) == len(sides[1]) == 1]
    return {theirs: ours for [theirs], [ours] in sorted(pairs)}


def likely_keys(table: Iterable[Key], images: Iterable[Key]) -> dict[Key, Key]:
    """Return which patients and sessions of a table are most likely which of the images.

    Parameters
    ----------
    table, images : iterable of (patient, session or None)

    Returns
    -------
    dict
        In the table's order, and without what agrees as it is.
    """
    rows, scans = list(table), list(images)
    patients = likely_ids((name for name, _ in rows), (name for name, _ in scans))
    theirs, ours = (
        _sessions((patients.get(name, name), session) for name, session in keys)
        for keys in (rows, scans)
    )
    sessions = {name: likely_ids(theirs[name], ours.get(name, ())) for name in theirs}
    found: dict[Key, Key] = {}
    for name, session in rows:
        patient = patients.get(name, name)
        visit = None if session is None else sessions[patient].get(session, session)
        if (patient, visit) != (name, session):
            found[name, session] = (patient, visit)
    return found


def _sessions(keys: Iterable[Key]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for patient, session in keys:
        if session is not None:
            found.setdefault(patient, set()).add(session)
    return found


def _spelt(matches: Mapping[Key, Key]) -> str:
    pairs = [
        f"{' '.join(filter(None, theirs))} (image: {' '.join(filter(None, ours))})"
        for theirs, ours in matches.items()
    ]
    return listed(pairs)


def mismatch_fault(matches: Mapping[Key, Key], *, row: int | None, column: str) -> Fault:
    """Return the fault of a table whose ids nearly are those of the images.

    Parameters
    ----------
    matches : mapping
        Of `likely_keys`, not empty.
    row : int, optional
        The first line that is concerned.
    column : str
        Where the table names the patient.
    """
    return Fault(
        "patients or sessions that differ from those of the images only in leading zeros or "
        "capitals",
        row=row,
        column=column,
        found=_spelt(matches),
        remedy=PAD_IDS,
    )


def mismatch_note(matches: Mapping[Key, Key], *, table: str) -> str:
    """Say which ids of a table were taken for those of images."""
    return (
        f"{table}: taken for the same, though leading zeros or capitals differ: {_spelt(matches)}."
    )
