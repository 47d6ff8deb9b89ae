"""Run every benchmark in turn: `make bench`."""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks import (
    cross_validation,
    features_overhead,
    memory,
    preparation,
    starting,
    trunk,
    trunk_layers,
)

BENCHMARKS = {
    "trunk": trunk.main,
    "trunk_layers": trunk_layers.main,
    "cross_validation": cross_validation.main,
    "features_overhead": features_overhead.main,
    "memory": memory.main,
    "preparation": preparation.main,
    "starting": starting.main,
}


def main() -> None:
    """Run the benchmarks named, or all, and write each result into the folder `--out`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(BENCHMARKS))
    parser.add_argument("--out", type=Path, default=Path("build/benchmarks"))
    arguments = parser.parse_args()
    for name in arguments.names:
        if name not in BENCHMARKS:
            parser.error(f"no benchmark {name}; there are {', '.join(BENCHMARKS)}")
    for name in arguments.names or BENCHMARKS:
        BENCHMARKS[name](["--out", str(arguments.out / f"{name}.json")])


if __name__ == "__main__":
    main()
