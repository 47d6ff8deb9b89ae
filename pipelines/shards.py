"""Shard: every n-th scan of a cohort, for jobs that share a cache."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import TYPE_CHECKING

from mri_transfer.errors import ConfigurationError

if TYPE_CHECKING:
    from mri_transfer.cohorts.manifest.manifest import Manifest

__all__ = ["Shard"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Shard:
    """Every n-th scan of a cohort in the order of scan_id.

    Attributes
    ----------
    number : int
        1 to `count`.
    count : int
    """

    number: int
    count: int

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Read `i/n`.

        Raises
        ------
        ConfigurationError
            If it is something else, or if i is not within 1 to n.
        """
        match = re.fullmatch(r"(\d{1,9})/(\d{1,9})", text)
        number, count = (int(part) for part in match.groups()) if match else (0, 0)
        if not 1 <= number <= count:
            raise ConfigurationError(
                "not a part of a cohort",
                where="--shard",
                found=text,
                expected="i/n with i from 1 to n, such as 3/8",
            )
        return cls(number=number, count=count)

    def folder(self, run: Path) -> Path:
        """Return the part's own run folder inside a run folder."""
        return run / "shards" / f"{self.number}_of_{self.count}"

    def of(self, cohort: Manifest) -> Manifest:
        """Return the part of a cohort.

        Raises
        ------
        ConfigurationError
            If there are more parts than scans.
        """
        names = sorted(cohort.scans["scan_id"])
        if len(names) < self.count:
            raise ConfigurationError(
                "more parts than scans",
                where="--shard",
                found=f"{self.count} parts",
                expected=f"{len(names)} at most",
            )
        return cohort.keep(names[self.number - 1 :: self.count])
