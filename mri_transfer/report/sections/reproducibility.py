"""Section `reproducibility`: commands, versions, seeds and digests behind every figure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mri_transfer.report.blocks.blocks import folded, how, missing, section_of
from mri_transfer.report.blocks.cells import Row, Table
from mri_transfer.report.blocks.document import Block, Bullets, Facts, Heading, Section, Text
from mri_transfer.report.inputs import ReportInputs

__all__ = ["reproducibility_section"]

#: Shown elsewhere in the section.
_APART = ("commands", "verify", "artefacts (sha256)", "packages")


def reproducibility_section(inputs: ReportInputs) -> Section:
    """Return the section."""
    provenance = inputs.provenance
    packages: Mapping[str, Any] = provenance.get("packages") or {}
    return section_of(
        "reproducibility",
        "Reproducibility",
        Heading(text="Commands"),
        _commands(provenance.get("commands"), "The command of this run is not recorded."),
        Text(
            text="To verify: run again into another folder and compare the digests of the files "
            "with those below. With the same scans, versions, kind of processor and seed they are "
            "the same; across processors the last digits of features may differ."
        ),
        _commands(provenance.get("verify"), ""),
        Heading(text="Software and seeds"),
        _facts_table(provenance),
        _table("Versions of packages that numbers depend on", ("Package", "Version"), packages)
        if packages
        else missing("The versions of packages are not recorded."),
        Heading(text="Files of the run"),
        *_files(inputs.artefacts),
        folded(
            "Every setting, defaults included",
            Facts(title="Settings", content=inputs.settings.every),
        ),
        Text(
            text="Where the code, the trained model and the data can be had, and on which terms.",
            role="supply",
        ),
    )


def _files(digests: Mapping[str, str]) -> tuple[Block | None, ...]:
    if not digests:
        return (missing("The digests of the run's files are not recorded."),)
    table = _table("SHA-256 of the files behind this report", ("File", "SHA-256"), digests)
    words = (
        "A digest changes with every bit of a file. Whoever holds the files can check that they "
        "are those of this report (sha256sum)."
    )
    return folded(f"Digests of {len(digests)} files", table), how(words)


def _commands(lines: Any, otherwise: str) -> Bullets | Text | None:
    if lines:
        return Bullets(items=tuple(map(str, lines)), role="commands")
    return missing(otherwise) if otherwise else None


def _facts_table(provenance: Mapping[str, Any]) -> Table | Text:
    """Return version, commit, seed, precision and what else is known, flat."""
    rows = {
        key: value
        for name, found in provenance.items()
        if name not in _APART
        for key, value in _flat(str(name), found)
    }
    if not rows:
        return missing("Nothing is recorded of the software.")
    return _table("What made these figures", ("What", "Value"), rows)


def _flat(name: str, value: Any) -> list[tuple[str, Any]]:
    if isinstance(value, Mapping):
        return [pair for key, item in value.items() for pair in _flat(f"{name}: {key}", item)]
    if isinstance(value, (list, tuple)):
        return [(name, ", ".join(map(str, value)))]
    return [(name, value)]


def _table(caption: str, columns: tuple[str, str], found: Mapping[str, Any]) -> Table:
    rows = tuple(
        Row(str(name), ("not recorded" if value is None else str(value),))
        for name, value in found.items()
    )
    return Table(caption=caption, columns=columns, rows=rows, wide=(columns[1],))
