"""Every exception the package raises on purpose.

::

    MriTransferError
    ├── ConfigurationError      a Spec, a configuration file or a command line that cannot be meant
    ├── ManifestError           a table of scans with faults; lists all of them
    ├── ScanError               one scan that cannot be used; a batch excludes it and goes on
    │   ├── UnreadableScanError     the file is missing, damaged or not NIfTI
    │   │   └── UnreachableScanError    its disk or network share does not answer
    │   ├── UnsupportedScanError    a readable file of a kind we refuse (4-D, RGB, absurd size)
    │   ├── IntensityError          voxel values that carry no image (constant, NaN, empty)
    │   ├── SliceError              fewer usable axial slices than asked for
    │   ├── PreparationError        a scan that cannot be brought to the template's space
    │   └── QualityError            a scan that was prepared, and is not to be trusted
    ├── MachineError            no room, no memory, no permission: the run stops and can be resumed
    ├── WeightsError            the trunk's weights are missing or not the ones named
    ├── StoreError              a cached artefact is damaged or not what its key says
    ├── FoldError               a split that the cohort cannot support
    ├── HeadError               a head that cannot be fitted, read or applied
    ├── PredictionError         scores that contradict each other (a patient predicted twice)
    ├── EvaluationError         a figure that is not defined on the given scores
    └── RunFolderError          a run folder in use, or without what a stage needs and can trust

Each message says what is wrong, where, what was found, what was expected and how to mend it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = [
    "ConfigurationError",
    "EvaluationError",
    "Fault",
    "FoldError",
    "HeadError",
    "IntensityError",
    "MachineError",
    "ManifestError",
    "MriTransferError",
    "PredictionError",
    "PreparationError",
    "QualityError",
    "RunFolderError",
    "ScanError",
    "SliceError",
    "StoreError",
    "UnreachableScanError",
    "UnreadableScanError",
    "UnsupportedScanError",
    "WeightsError",
]


class MriTransferError(Exception):
    """Base of the tree.

    Parameters
    ----------
    what : str
        The fault in one clause, without a full stop.
    where : str, optional
        File, row, scan or setting in which it was found.
    found, expected : str, optional
        The offending value, and what would have been accepted.
    remedy : str, optional
        What the reader can do about it.
    """

    def __init__(
        self,
        what: str,
        *,
        where: str | None = None,
        found: str | None = None,
        expected: str | None = None,
        remedy: str | None = None,
    ) -> None:
        self.what = what
        self.where = where
        self.found = found
        self.expected = expected
        self.remedy = remedy
        super().__init__(self.message)

    @property
    def message(self) -> str:
        """The whole message in one line."""
        head = f"{self.where}: {self.what}" if self.where else self.what
        details = [
            f"{name} {value}"
            for name, value in (("found", self.found), ("expected", self.expected))
            if value is not None
        ]
        sentences = [head + (f" ({'; '.join(details)})" if details else "")]
        if self.remedy is not None:
            sentences.append(self.remedy)
        text = ". ".join(sentence.rstrip(".") for sentence in sentences)
        return text if text.endswith("?") else f"{text}."

    def __str__(self) -> str:
        return self.message


class ConfigurationError(MriTransferError):
    """A Spec, a configuration file or a command line that cannot be meant."""


@dataclass(frozen=True)
class Fault:
    """One fault of a table: ``row`` counts lines of the file (the header is line 1)."""

    what: str
    row: int | None = None
    column: str | None = None
    found: str | None = None
    expected: str | None = None
    remedy: str | None = None

    def __str__(self) -> str:
        place = ", ".join(
            part
            for part in (
                f"row {self.row}" if self.row is not None else "",
                f"column {self.column}" if self.column is not None else "",
            )
            if part
        )
        return str(
            MriTransferError(
                self.what,
                where=place or None,
                found=self.found,
                expected=self.expected,
                remedy=self.remedy,
            )
        )


class ManifestError(MriTransferError):
    """A table of scans with faults; ``faults`` lists all of them."""

    def __init__(self, where: str, faults: Sequence[Fault]) -> None:
        self.faults = tuple(faults)
        lines = "\n".join(f"  - {fault}" for fault in self.faults)
        count = "1 fault" if len(self.faults) == 1 else f"{len(self.faults)} faults"
        super().__init__(f"{count}\n{lines}", where=where)

    @property
    def message(self) -> str:
        """The place, the number of faults, and one line for each."""
        return f"{self.where}: {self.what}"


class ScanError(MriTransferError):
    """One scan that cannot be used; a batch excludes it and goes on."""


class UnreadableScanError(ScanError):
    """The file is missing, damaged or not NIfTI."""


class UnreachableScanError(UnreadableScanError):
    """The disk or network share of the file does not answer."""


class UnsupportedScanError(ScanError):
    """A readable file of a kind that is refused (4-D, RGB, absurd size)."""


class IntensityError(ScanError):
    """Voxel values that carry no image (constant, NaN, empty)."""


class SliceError(ScanError):
    """Fewer usable axial slices than asked for."""


class PreparationError(ScanError):
    """A scan that cannot be brought to the template's space."""


class QualityError(ScanError):
    """A scan that was prepared, and is not to be trusted."""


class MachineError(MriTransferError):
    """A fault of the computer: it stops a run, which can be resumed, and is no scan's fault."""


class WeightsError(MriTransferError):
    """The trunk's weights are missing or not the ones named."""


class StoreError(MriTransferError):
    """A cached artefact is damaged or not what its key says."""


class FoldError(MriTransferError):
    """A split that the cohort cannot support."""


class HeadError(MriTransferError):
    """A head that cannot be fitted, read or applied."""


class PredictionError(MriTransferError):
    """Scores that contradict each other (a patient predicted twice)."""


class EvaluationError(MriTransferError):
    """A figure that is not defined on the given scores."""


class RunFolderError(MriTransferError):
    """A run folder in use, or without what a stage needs and can trust."""
