"""Section `reproducibility`: commands, versions, seeds and digests behind every figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mri_transfer.report.blocks.blocks import folded, how, missing, section_of
from mri_transfer.report.blocks.cells import Column, Table, table_of
from mri_transfer.report.blocks.document import Block, Bullets, Facts, Heading, Section, Text
from mri_transfer.report.inputs import Provenance, ReportInputs

__all__ = ["reproducibility_section"]

#: What is shown of the provenance in one table, by its title.
_SOFTWARE = {
    "mri-transfer": "version",
    "git commit": "commit",
    "seed": "seed",
    "trunk weights (sha256)": "trunk_sha256",
    "features computed on": "device",
    "features computed in": "precision",
}


def reproducibility_section(inputs: ReportInputs) -> Section:
    """Return the section."""
    provenance = inputs.provenance
    packages = provenance.packages if provenance else {}
    return section_of(
        "reproducibility",
        "Reproducibility",
        Heading(text="Commands"),
        _commands(provenance.commands if provenance else ())
        or missing("The command of this run is not recorded."),
        Text(
            text="To verify: run again into another folder and compare the digests of the files "
            "with those below. With the same scans, versions, kind of processor and seed they are "
            "the same; across processors the last digits of features may differ."
        ),
        _commands(provenance.verify if provenance else ()),
        Heading(text="Software and seeds"),
        _software_table(provenance) or missing("Nothing is recorded of the software."),
        _table("Versions of packages that numbers depend on", ("Package", "Version"), packages)
        or missing("The versions of packages are not recorded."),
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


def _commands(lines: Sequence[str]) -> Bullets | None:
    return Bullets(items=tuple(lines), role="commands") if lines else None


def _software_table(provenance: Provenance | None) -> Table | None:
    """Return version, commit, seed, precision and what else is known."""
    if provenance is None:
        return None
    rows = {title: getattr(provenance, name) for title, name in _SOFTWARE.items()}
    rows |= {f"pseudonyms: {name}": value for name, value in provenance.pseudonyms.items()}
    return _table("What made these figures", ("What", "Value"), rows)


def _table(
    caption: str, columns: tuple[str, str], values: Mapping[str, str | int | None]
) -> Table | None:
    def cell(name: str) -> str:
        return "not recorded" if values[name] is None else str(values[name])

    first, second = columns
    return table_of(
        values, caption, Column(first, lambda name: name), Column(second, cell, wide=True)
    )
