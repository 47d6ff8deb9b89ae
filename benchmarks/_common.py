"""What every benchmark shares: targets, tables, the machine's description, the result file."""

from __future__ import annotations

import argparse
import dataclasses
import importlib.metadata
import json
import os
import platform
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

__all__ = ["Target", "argument_parser", "finish", "median_ratio", "show_table"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Target:
    """What a figure must reach.

    Attributes
    ----------
    name : str
    value : float or None
        As measured; None if this machine cannot measure it.
    limit : float
    at_least : bool
        Whether the value must reach the limit (True) or stay under it (False).
    """

    name: str
    value: float | None
    limit: float
    at_least: bool

    @property
    def met(self) -> bool | None:
        """Whether the target is met; None if it was not measured."""
        if self.value is None:
            return None
        return self.value >= self.limit if self.at_least else self.value <= self.limit


def argument_parser(description: str) -> argparse.ArgumentParser:
    """Return a parser with the options that every benchmark takes."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--out", type=Path, help="write the result as JSON")
    return parser


def median_ratio(above: Sequence[float], below: Sequence[float]) -> float:
    """Return the median over rounds of one figure divided by another of the same round."""
    return statistics.median(a / b for a, b in zip(above, below, strict=True))


def show_table(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table with columns as wide as they need to be."""
    lines = [list(header), *(list(row) for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(header))]
    print(f"\n{title}")
    for number, line in enumerate(lines):
        first, *others = zip(line, widths, strict=True)
        print("  " + "  ".join([first[0].ljust(first[1]), *(c.rjust(w) for c, w in others)]))
        if number == 0:
            print("  " + "  ".join("-" * width for width in widths))


def finish(
    name: str, *, out: Path | None, figures: dict[str, Any], targets: Sequence[Target]
) -> None:
    """Print which targets are met and write the result file."""
    words = {True: "met", False: "MISSED", None: "not measured"}
    show_table(
        "Targets",
        ["target", "value", "limit", ""],
        [
            [
                target.name,
                "-" if target.value is None else f"{target.value:.3g}",
                f"{'>=' if target.at_least else '<='} {target.limit:g}",
                words[target.met],
            ]
            for target in targets
        ],
    )
    if out is None:
        return
    result = {
        "schema": "mri-transfer/benchmark/1",
        "benchmark": name,
        "machine": _machine(),
        "figures": figures,
        "targets": [{**dataclasses.asdict(target), "met": target.met} for target in targets],
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


def _machine() -> dict[str, Any]:
    model = ""
    info = Path("/proc/cpuinfo")
    if info.is_file():
        names = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        model = names[0].partition(":")[2].strip() if names else ""
    packages = ("mri-transfer", "numpy", "scikit-learn", "torch")
    return {
        "processor": model or platform.processor(),
        "processors": os.cpu_count(),
        "python": platform.python_version(),
        "packages": {name: importlib.metadata.version(name) for name in packages},
    }
