"""Cross-validation on cached features, against passing every slice through the trunk each epoch.

200 made-up patients with 32 slices each; the features' number, share of zeros and never-firing
positions are those of real scans. What the trunk would cost is extrapolated from its measured
rate: nobody needs to wait for it.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence

import numpy as np
import torch

from benchmarks._common import Target, argument_parser, finish, show_table
from mri_transfer.models.features import FeatureTable, encode, resolve_features
from mri_transfer.models.trunks import load_trunk
from mri_transfer.scans.slices import SliceStack
from mri_transfer.training.cross_validation import cross_validate
from mri_transfer.training.dataset import LabelledFeatures
from mri_transfer.training.engine import fit_folds
from mri_transfer.training.estimator import configured_estimator
from mri_transfer.training.folds import Folds, make_folds
from mri_transfer.training.settings import FoldSpec
from pipelines.config import RunConfig, named_config, read_config

__all__ = ["main"]

FOLDS = FoldSpec(n_folds=5, n_repeats=3)
#: Of the 8192 positions of the published features on 140 patients of OASIS-1, 64 % ever fire;
#: of those, 36 % do in a given slice.
ALIVE, FIRING = 0.64, 0.36


@dataclasses.dataclass(frozen=True, kw_only=True)
class Timing:
    """Seconds of one head's cross-validation, and what it would be without the cache."""

    head: str
    seconds: float
    measured_fits: int
    fits: int
    trunk_passes: int
    trunk_rate: float

    @property
    def trunk_seconds(self) -> float:
        """Seconds of passing every training slice through the trunk in every epoch."""
        return self.trunk_passes / self.trunk_rate


def made_up_table(n_patients: int, n_features: int, *, alive: float, firing: float) -> FeatureTable:
    """Draw features with a label's weak signal; patients alternate between the labels."""
    rng = np.random.default_rng(0)
    features = np.zeros((n_patients, 32, n_features), dtype=np.float32)
    used = rng.permutation(n_features)[: round(alive * n_features)]
    direction = 0.1 * rng.standard_normal(len(used))
    for i in range(n_patients):
        values = rng.exponential(1.0, (32, len(used))) + (i % 2) * direction
        features[i][:, used] = np.where(rng.random(values.shape) < firing, values, 0)
    names = tuple(f"p{i:03d}" for i in range(n_patients))
    z_mm = np.tile(np.arange(32, dtype=np.float32), (n_patients, 1))
    return FeatureTable(
        scan_ids=names,
        patient_ids=names,
        scan_sha256=("",) * n_patients,
        features=features,
        z_mm=z_mm,
    )


def trunk_rate(config: RunConfig) -> float:
    """Return slices/s of a configuration's trunk, the median of five scans."""
    spec = resolve_features(config.features)
    trunk = load_trunk(
        dataclasses.replace(config.trunk, weights="random"),
        precision=spec.precision,
        device=spec.device,
    )
    stack = SliceStack.blank(config.slices)
    encode(stack, trunk, spec)
    seconds = []
    for _ in range(5):
        begin = time.perf_counter()
        encode(stack, trunk, spec)
        seconds.append(time.perf_counter() - begin)
    return len(stack.z_mm) / float(np.median(seconds))


def time_default(n_patients: int) -> Timing:
    """Run the whole cross-validation of the default configuration."""
    config = read_config(None)
    table = made_up_table(n_patients, 512, alive=1.0, firing=1.0)
    folds = _folds(table)
    fits = [0]

    def count(_done: int, total: int) -> None:
        fits[0] = total

    begin = time.perf_counter()
    data = LabelledFeatures.of_folds({config.features.pooling: table}, folds, "AD")
    cross_validate(configured_estimator(config), data, folds, seed=0, progress=count)
    seconds = time.perf_counter() - begin
    n_outer = FOLDS.n_folds * FOLDS.n_repeats
    n_train = n_patients * (FOLDS.n_folds - 1) / FOLDS.n_folds
    inner = (FOLDS.n_inner_folds - 1) / FOLDS.n_inner_folds
    # A linear head has no epochs: one pass for each fit is the least it could ask of the trunk.
    patients = n_train * (n_outer + (fits[0] - n_outer) * inner)
    return Timing(
        head="default (linear)",
        seconds=seconds,
        measured_fits=fits[0],
        fits=fits[0],
        trunk_passes=round(32 * patients),
        trunk_rate=trunk_rate(config),
    )


def time_published(n_patients: int, *, n_measured: int | None) -> Timing:
    """Train the mlp head for all its epochs, on some of the folds or on all."""
    config = read_config(named_config("hon_khan_2017"))
    table = made_up_table(n_patients, 8192, alive=ALIVE, firing=FIRING)
    folds = _folds(table)
    outer = list(folds)
    data = LabelledFeatures.of_folds({config.features.pooling: table}, folds, "AD")
    estimator = configured_estimator(config).without_choices()
    fits = outer[:n_measured]
    begin = time.perf_counter()
    for _ in fit_folds(estimator, data, fits, seed=0):
        pass
    seconds = (time.perf_counter() - begin) * len(outer) / len(fits)
    epochs = int(getattr(config.heads, "epochs", 1))
    n_train = n_patients * (FOLDS.n_folds - 1) // FOLDS.n_folds
    return Timing(
        head=f"mlp, {epochs} epochs",
        seconds=seconds,
        measured_fits=len(fits),
        fits=len(outer),
        trunk_passes=len(outer) * epochs * n_train * 32,
        trunk_rate=trunk_rate(config),
    )


def _folds(table: FeatureTable) -> Folds:
    words = ["AD" if i % 2 else "CN" for i in range(len(table.patient_ids))]
    return make_folds(table.patient_ids, words, spec=FOLDS, seed=0)


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, show and write."""
    parser = argument_parser(__doc__ or "")
    parser.add_argument("--patients", type=int, default=200)
    parser.add_argument(
        "--full",
        action="store_true",
        help="train all fifteen mlp heads instead of one, whose time is scaled up",
    )
    arguments = parser.parse_args(argv)
    timings = [
        time_default(arguments.patients),
        time_published(arguments.patients, n_measured=None if arguments.full else 1),
    ]
    show_table(
        f"Cross-validation: {arguments.patients} patients x 32 slices, {FOLDS.n_folds} folds x "
        f"{FOLDS.n_repeats} repeats, {torch.get_num_threads()} threads",
        ["head", "seconds", "fits measured", "trunk slices/s", "trunk each epoch, h", "ratio"],
        [
            [
                one.head,
                f"{one.seconds:.1f}",
                f"{one.measured_fits} of {one.fits}",
                f"{one.trunk_rate:.1f}",
                f"{one.trunk_seconds / 3600:.1f}",
                f"{one.trunk_seconds / one.seconds:.0f}",
            ]
            for one in timings
        ],
    )
    print(
        "  'trunk each epoch' is extrapolated from the trunk's rate measured in this run; where "
        "not\n  all fits were measured, their time is scaled up to all."
    )
    finish(
        "cross_validation",
        out=arguments.out,
        figures={
            one.head: {**dataclasses.asdict(one), "trunk_seconds": one.trunk_seconds}
            for one in timings
        },
        targets=[
            Target(name="default head, s", value=timings[0].seconds, limit=60, at_least=False),
            Target(name="mlp head, s", value=timings[1].seconds, limit=600, at_least=False),
        ],
    )


if __name__ == "__main__":
    main()
