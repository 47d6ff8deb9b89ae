"""Pseudonyms: which names a cohort has, what stands in their place, and how texts are cleaned."""

from __future__ import annotations

import base64
import dataclasses
import functools
import hashlib
import hmac
import re
from collections.abc import Collection, Iterable, Mapping

from mri_transfer.errors import RunFolderError

__all__ = ["Pseudonyms", "is_word", "make_pseudonyms"]

_CHARACTERS = 8
_NO_PATH = "(path removed)"
_MIN_LENGTH, _MIN_DIGITS = 4, 6
#: After a word of these, even a name of one letter is the name of a site or a scanner.
_PLACES = ("site", "scanner")
_DATE = re.compile(
    r"(?<![\w.,])(?:19|20)\d\d"
    r"(?:-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:?\d\d)?)?"
    r"|(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01]))(?![\w]|[.,]\d)"
)
#: An absolute path of two steps or more, of any system.
_PATH = re.compile(
    r"(?<![\w.:/~\\])(?:~?/[^\s/'\"<>|,;:()]+(?:/[^\s/'\"<>|,;:()]*)+"
    r"|(?:[A-Za-z]:[\\/]|\\\\)[^\s'\"<>|,;()]+)"
)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Pseudonyms:
    """What stands in the place of the names of a cohort.

    Attributes
    ----------
    key : bytes
    names : mapping of str to str
        Every id of a patient, scan or session, and every file's name, to its pseudonym.
    places : mapping of str to mapping of str to str
        `site` and `scanner`: each name to its number in words.
    paths : frozenset of str
        Paths of scans, as they may stand in messages.
    labels : frozenset of str
    """

    key: bytes = dataclasses.field(repr=False)
    names: Mapping[str, str]
    places: Mapping[str, Mapping[str, str]]
    paths: frozenset[str]
    labels: frozenset[str]

    def of(self, name: str, prefix: str = "P") -> str:
        """Return the pseudonym of an id, also of one that was not known before."""
        return self.names.get(name) or _pseudonym(self.key, name, prefix)

    def in_prose(self, text: str) -> str:
        """Return a text that the software wrote: names that are no words are replaced."""
        return self._cleaned(text, self._sought)

    def in_data(self, text: str) -> str:
        """Return a text that was made around names: whatever equals one is replaced."""
        return self._cleaned(text, self._replacement)

    def left_in(self, text: str) -> list[str]:
        """Return the patients and scans that a text still names, as far as no word is meant."""
        own = [name for name in self._sought if self._replacement[name][:2] in ("P-", "S-")]
        found = _any_of(name for name in own if name in text and not name.isalpha())
        return sorted({match[0] for match in found.finditer(text)})

    def _cleaned(self, text: str, names: Collection[str]) -> str:
        # Looking for whole names is slow; most texts hold not even a part of one.
        if any(path in text for path in self.paths):
            text = _any_of(path for path in self.paths if path in text).sub(_NO_PATH, text)
        if there := [name for name in names if name in text]:
            text = _any_of(there).sub(lambda match: self._replacement[match[0]], text)
        text = self._after_place.sub(self._numbered, text)
        return _DATE.sub("(date removed)", _PATH.sub(_NO_PATH, text))

    def _numbered(self, match: re.Match[str]) -> str:
        name = match["name"]
        number = self.places[match["kind"].lower()].get(name)
        return match[0] if number is None else match[0][: -len(name)] + number.split()[-1]

    @functools.cached_property
    def _replacement(self) -> dict[str, str]:
        numbered = {name: text for kind in _PLACES for name, text in self.places[kind].items()}
        return {**numbered, **self.names}

    @functools.cached_property
    def _sought(self) -> frozenset[str]:
        return frozenset(name for name in self._replacement if not is_word(name)) - self.labels

    @functools.cached_property
    def _after_place(self) -> re.Pattern[str]:
        names = _alternatives(name for kind in _PLACES for name in self.places[kind])
        kinds = "|".join(_PLACES)
        return re.compile(rf"\b(?P<kind>(?i:{kinds}))s? \(?(?P<name>{names})(?!\w)")


def make_pseudonyms(
    key: bytes,
    *,
    patients: Iterable[str],
    scans: Iterable[str],
    sessions: Iterable[str],
    paths: Iterable[str],
    places: Mapping[str, Iterable[str]],
    labels: Iterable[str],
) -> Pseudonyms:
    """Return pseudonyms for the names of a cohort.

    A pseudonym is a prefix and 8 characters of base32 (40 bits) of the keyed hash HMAC-SHA-256
    (RFC 2104) of the name, so that the same key always gives the same name in its place and no one
    without the key can find the name out by trying. Sites and scanners are numbered in an order
    that the key decides.

    Raises
    ------
    RunFolderError
        If two names get the same pseudonym, or a pseudonym is a name of the cohort.
    """
    names: dict[str, str] = {}
    all_paths = {path for path in paths if path}
    stems = {re.split(r"[\\/]", path)[-1] for path in all_paths}
    stems |= {re.sub(r"(\.nii)?(\.gz)?$", "", stem) for stem in stems}
    # What is a patient's id stays one, also where a scan or a file is called the same.
    kinds = (("P", patients), ("S", scans), ("F", stems), ("V", sessions))
    for prefix, found in kinds:
        for name in sorted(set(found) - {""}):
            names.setdefault(name, _pseudonym(key, name, prefix))
    _check_collisions(names)
    return Pseudonyms(
        key=key,
        names=names,
        places={kind: _numbers(key, kind, places.get(kind, ())) for kind in _PLACES},
        paths=frozenset(all_paths),
        labels=frozenset(labels),
    )


def is_word(name: str) -> bool:
    """Return whether a name could as well be a word or a number of a report's own text.

    Shorter than 4 characters, a number of fewer than 6 digits, or lower-case letters alone. Such
    names are replaced wherever an id stands, and in messages about a scan, but not sought in other
    texts: those do not name patients, and `1` or `patient` would be found everywhere.
    """
    if re.fullmatch(r"[\d.,]+", name):
        return sum(letter.isdigit() for letter in name) < _MIN_DIGITS
    return len(name) < _MIN_LENGTH or (name.isalpha() and name.islower())


def _pseudonym(key: bytes, name: str, prefix: str) -> str:
    message = b"mri-transfer/pseudonym/1\0" + name.encode("utf-8", "surrogatepass")
    code = base64.b32encode(hmac.new(key, message, hashlib.sha256).digest()).decode("ascii")
    return f"{prefix}-{code[:_CHARACTERS]}"


def _numbers(key: bytes, kind: str, names: Iterable[str]) -> dict[str, str]:
    # Numbered by hash: by name, the numbers would tell the order of the alphabet.
    ordered = sorted(set(names) - {""}, key=lambda name: _pseudonym(key, name, kind))
    return {name: f"{kind.capitalize()} {i}" for i, name in enumerate(ordered, start=1)}


def _check_collisions(names: Mapping[str, str]) -> None:
    owner: dict[str, str] = {}
    for name, pseudonym in names.items():
        other = owner.setdefault(pseudonym, name)
        if other != name or pseudonym in names:
            raise RunFolderError(
                "two names of the cohort would get the same pseudonym, or a pseudonym is a name",
                found=f"{pseudonym} for {name}",
                remedy="Use another key",
            )


def _any_of(names: Iterable[str]) -> re.Pattern[str]:
    """Return a pattern that finds whole names, the longest first, but no parts of words."""
    return re.compile(_alternatives(names))


def _alternatives(names: Iterable[str]) -> str:
    # A name that begins or ends with a sign needs no border there; digits are no part of a
    # decimal number.
    ordered = sorted(set(names) - {""}, key=lambda name: (-len(name), name))
    return "|".join(map(_bounded, ordered)) or r"(?!)"


def _bounded(name: str) -> str:
    before = r"(?<![^\W_])" if name[0].isalnum() else ""
    before += r"(?<!\d[.,])" if name[0].isdigit() else ""
    after = r"(?![^\W_])" if name[-1].isalnum() else ""
    after += r"(?![.,]\d)" if name[-1].isdigit() else ""
    return f"{before}{re.escape(name)}{after}"
