"""The exceptions that the package raises.

::

    MriTransferError
    ├── ConfigurationError      an invalid Spec, configuration file or command line
    ├── ManifestError           an invalid table of scans; lists every fault
    ├── ScanError               a scan that cannot be used; a batch excludes it and continues
    │   ├── UnreadableScanError     the file is missing, damaged or not NIfTI
    │   │   └── UnreachableScanError    its disk or network share does not answer
    │   ├── UnsupportedScanError    a readable file of an unsupported kind (4-D, RGB, absurd size)
    │   ├── IntensityError          voxel values without image content (constant, NaN, empty)
    │   ├── SliceError              fewer usable axial slices than required
    │   └── PreparationError        a scan that cannot be aligned to the template
    ├── MachineError            no disk space, memory or permission; the run can be resumed
    ├── WeightsError            the trunk's weights are missing or not the expected ones
    ├── StoreError              a cached artefact is damaged or does not match its key
    ├── FoldError               a split that the cohort is too small for
    ├── HeadError               a head that cannot be fitted, read or applied
    ├── PredictionError         contradictory scores (a patient predicted twice)
    ├── EvaluationError         a metric that is undefined for the given scores
    └── RunFolderError          a run folder that is in use, incomplete or not trusted
        └── NoUsableScanError       every scan was excluded

Each message states what is wrong, where, what was found, what was expected and how to fix it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

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
    "NoUsableScanError",
    "PredictionError",
    "PreparationError",
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
    """Base class of the package's exceptions.

    Parameters
    ----------
    what : str
        The error in one clause, without a full stop.
    where : str, optional
        File, row, scan or setting in which it was found.
    found, expected : str, optional
        The offending value, and what is accepted.
    remedy : str, optional
        How to fix it.
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
        """The full message on one line."""
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
    """An invalid Spec, configuration file or command line."""


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
        position = ", ".join(
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
                where=position or None,
                found=self.found,
                expected=self.expected,
                remedy=self.remedy,
            )
        )


class ManifestError(MriTransferError):
    """An invalid table of scans; ``faults`` lists every fault."""

    def __init__(self, where: str, faults: Sequence[Fault]) -> None:
        self.faults = tuple(faults)
        lines = "\n".join(f"  - {fault}" for fault in self.faults)
        count = "1 fault" if len(self.faults) == 1 else f"{len(self.faults)} faults"
        super().__init__(f"{count}\n{lines}", where=where)

    @property
    def message(self) -> str:
        """The location, the number of faults, and one line for each."""
        return f"{self.where}: {self.what}"


class ScanError(MriTransferError):
    """A scan that cannot be used; a batch excludes it and continues."""


class UnreadableScanError(ScanError):
    """The file is missing, damaged or not NIfTI."""


class UnreachableScanError(UnreadableScanError):
    """The disk or network share of the file does not answer."""


class UnsupportedScanError(ScanError):
    """A readable file of an unsupported kind (4-D, RGB, absurd size)."""


class IntensityError(ScanError):
    """Voxel values without image content (constant, NaN, empty)."""


class SliceError(ScanError):
    """Fewer usable axial slices than required."""


class PreparationError(ScanError):
    """A scan that cannot be aligned to the template."""


class MachineError(MriTransferError):
    """A fault of the machine, not of a scan; it stops the run, which can be resumed."""


class WeightsError(MriTransferError):
    """The trunk's weights are missing or not the expected ones."""


class StoreError(MriTransferError):
    """A cached artefact is damaged or does not match its key."""


class FoldError(MriTransferError):
    """A split that the cohort is too small for."""


class HeadError(MriTransferError):
    """A head that cannot be fitted, read or applied."""


class PredictionError(MriTransferError):
    """Contradictory scores (a patient predicted twice)."""


class EvaluationError(MriTransferError):
    """A metric that is undefined for the given scores."""


class RunFolderError(MriTransferError):
    """A run folder that is in use, incomplete or not trusted."""


class NoUsableScanError(RunFolderError):
    """Every scan was excluded; ``table`` is the file that lists them with the reasons."""

    def __init__(self, where: str, table: Path) -> None:
        self.table = table
        super().__init__(
            "no scan can be used", where=where, remedy=f"See {table.name} for the reason of each"
        )
