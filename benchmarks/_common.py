"""What every benchmark shares: targets, tables, the machine's description, the result file."""

from __future__ import annotations

import argparse
import dataclasses
import importlib.metadata
import json
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

__all__ = [
    "Measured",
    "Target",
    "argument_parser",
    "finish",
    "measured_command",
    "median_ratio",
    "show_table",
]

_ROOT = Path(__file__).resolve().parents[1]

#: Runs a command and says what it took. A process of its own and a small one, since a child is
#: charged with what its parent held when it was started.
_WATCHER = """
import json, resource, subprocess, sys, time
start = time.perf_counter()
done = subprocess.run(sys.argv[1:], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
seconds = time.perf_counter() - start
if done.returncode not in (0, 3):
    sys.exit(done.stdout[-2000:])
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps([seconds, used.ru_utime + used.ru_stime, used.ru_maxrss]))
"""


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


@dataclasses.dataclass(frozen=True, kw_only=True)
class Measured:
    """What a command took.

    Attributes
    ----------
    seconds : float
    cpu_s : float
        Processor time of all its processes and threads.
    peak_gb : float
        Largest resident memory of one of its processes, in 10^9 bytes.
    """

    seconds: float
    cpu_s: float
    peak_gb: float


def measured_command(*words: str) -> Measured:
    """Run `mri-transfer` in a process of its own, the way a batch system would call it.

    Raises
    ------
    RuntimeError
        If it fails, with what it said.
    """
    command = [sys.executable, "-m", "pipelines.commands.cli", *words]
    done = subprocess.run(
        [sys.executable, "-c", _WATCHER, *command],
        cwd=_ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(words)} failed:\n{done.stderr}")
    seconds, cpu_s, peak = json.loads(done.stdout)
    # Linux counts kilobytes of 1024, macOS bytes.
    unit = 1 if sys.platform == "darwin" else 1024
    return Measured(seconds=seconds, cpu_s=cpu_s, peak_gb=peak * unit / 1e9)


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
