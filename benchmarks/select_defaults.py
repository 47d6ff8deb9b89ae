"""How the default configuration was chosen: by inner evaluation of training patients alone.

Every candidate goes through the folds of a normal run. For each outer fold its training patients
are split again, and the mean AUC over those inner folds is the candidate's figure, averaged over
all outer folds. Outer test patients are never scored here: the table has no outer figure that a
choice could lean on.

    python -m benchmarks.select_defaults --manifest M.csv --out FOLDER [--cache CACHE]
"""

from __future__ import annotations

import argparse
import itertools
import json
from pathlib import Path

from pipelines.config import read_config
from pipelines.plan.order import stage_named
from pipelines.runner import begin_run, run_pipeline

STAGES = [stage_named(name) for name in ("check", "slices", "features", "folds", "train")]

#: Slices and trunk, one trunk pass each.
FEATURES = [
    ["trunk.layer=block4_pool", "features.pooling=max"],
    ["trunk.layer=block5_pool", "features.pooling=max"],
    ["trunk.layer=block5_pool", "features.pooling=average"],
    ["trunk.layer=block4_pool", "features.pooling=max", "slices.percentiles=[0.0, 99.5]"],
    ["trunk.layer=block4_pool", "features.pooling=max", "slices.size_px=150"],
]
LINEAR = [
    *(
        [f"heads.zones={zones}", f"heads.scaling={scaling}", f"heads.inverse_l2={penalties}"]
        for zones in (1, 2, 4)
        for scaling, penalties in (
            ("global", "[10.0, 30.0, 100.0]"),
            ("global", "[100.0, 300.0, 1000.0]"),
            ("feature", "[0.003, 0.01, 0.03, 0.1]"),
        )
    ),
    ["heads.zones=2", "heads.penalties=inner", "heads.inverse_l2=[10.0, 30.0, 100.0, 300.0]"],
]
#: The attention head takes a minute a candidate; it is tried on the first features alone.
CANDIDATES = [
    *([*features, *head] for features, head in itertools.product(FEATURES, LINEAR)),
    [*FEATURES[0], "heads.kind=attention"],
]


def inner_auc(run: Path) -> float:
    """Mean over outer folds of the inner AUC of what each of them would choose."""
    folds = [json.loads(path.read_text()) for path in sorted((run / "heads").glob("*.json"))]
    return sum(max(fold["inner_auc"]) for fold in folds) / len(folds)


def main() -> None:
    """Run every candidate and print the table, best first."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--manifest", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--cache", type=Path)
    options = parser.parse_args()
    rows = []
    for number, settings in enumerate(CANDIDATES):
        config = read_config(None, settings)
        folder = options.out / f"candidate{number:02d}"
        workspace = begin_run(options.manifest, folder, config, cache=options.cache)
        run_pipeline(workspace, config, stages=STAGES)
        rows.append((inner_auc(folder), " ".join(settings)))
        print(f"{rows[-1][0]:.4f}  {rows[-1][1]}", flush=True)
    rows.sort(reverse=True)
    table = "\n".join(["| inner AUC | candidate |", "|---|---|"])
    table += "".join(f"\n| {auc:.4f} | `{name}` |" for auc, name in rows)
    (options.out / "table.md").write_text(table + "\n")
    print(table)


if __name__ == "__main__":
    main()
