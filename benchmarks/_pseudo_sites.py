"""The cohorts of `new_site`: pseudo-sites of real scans, down to what lies at the cut.

Pictures are 96 px and 8 a scan, so that one processor can afford hundreds of adaptations.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from mri_transfer.core.files import sha256_of_file
from mri_transfer.core.specs import digest, spec_dict
from mri_transfer.models.activations import ActivationStore, ActivationTable, activation_key
from mri_transfer.models.features import FeatureSpec, FeatureTable, resolve_features
from mri_transfer.models.tails.spec import TuningSpec, cut_of
from mri_transfer.models.tails.tail import Tail, TailSource
from mri_transfer.models.trunks import TrunkSpec, load_trunk
from mri_transfer.scans.preparation import PreparationSpec, prepare_scan
from mri_transfer.scans.pseudo_sites import PseudoSite, render
from mri_transfer.scans.slices import SliceSpec, cut_slices
from mri_transfer.scans.volumes import Volume, load_volume
from mri_transfer.training.dataset import LabelledFeatures
from mri_transfer.training.folds import make_folds
from mri_transfer.training.settings import FoldSpec

__all__ = ["FILM", "SLICES", "TRUNK", "Encoder", "assign_sites", "scans_of"]

SLICES = SliceSpec(n_slices=8, size_px=96)
TRUNK = TrunkSpec(layer="block4_pool")
FILM = TuningSpec(strategy="some", method="ssf")


def assign_sites(patients: pd.DataFrame, n_sites: int, *, seed: int) -> dict[str, int]:
    """Deal patients to sites at random, every label alike.

    Parameters
    ----------
    patients : DataFrame
        Indexed by patient_id, with a column `label`.
    n_sites : int
    seed : int
    """
    names, labels = [str(name) for name in patients.index], patients["label"].tolist()
    folds = make_folds(names, labels, spec=FoldSpec(n_folds=n_sites, n_repeats=1), seed=seed)
    return dict(zip(folds.patient_ids, folds.assignment[0].tolist(), strict=True))


class Encoder:
    """Scans to activations at the cut, kept in a folder, and to features of the untuned trunk.

    Parameters
    ----------
    cache : Path
    """

    def __init__(self, cache: Path) -> None:
        self.spec = resolve_features(FeatureSpec())
        self.store = ActivationStore(cache)
        self.at_cut = dataclasses.replace(TRUNK, layer=cut_of(TRUNK, FILM))
        weights = cache / "weights"
        self.prefix = load_trunk(
            self.at_cut, precision=self.spec.precision, device="cpu", cache=weights
        )
        whole = load_trunk(TRUNK, precision="fp32", device="cpu", cache=weights)
        self.source = TailSource.of_trunk(whole, FILM, self.spec)

    def encode(self, scan: Path, name: str, site: PseudoSite) -> Path:
        """Return the file of a scan's activations as a site shows the scan, made if missing."""
        sha = sha256_of_file(scan)
        parts = {"scan": sha, "slices": spec_dict(SLICES), "site": spec_dict(site)}
        key = activation_key(slices=digest(parts), trunk_spec=self.at_cut, feature_spec=self.spec)
        if key not in self.store:
            shown = render(_prepared(scan, name), site, scan_key=sha)
            self.store.put(key, cut_slices(shown, SLICES), self.prefix)
        return self.store.path(key)

    def cohort(
        self, files: Mapping[str, Path], labels: Mapping[str, str], *, positive: str
    ) -> LabelledFeatures:
        """Return patients with one scan each, activations and features of the untuned trunk.

        Parameters
        ----------
        files : mapping of str to Path
            Of `encode`, by patient.
        labels : mapping of str to str
        positive : str
        """
        names = tuple(sorted(files))
        kept = ActivationTable(files=tuple(files[n] for n in names), array=self.store.array)
        untuned = Tail(
            tensors={},
            spec=FILM,
            cut=self.source.cut,
            weights_digest=self.source.weights_digest,
            source=self.source,
        )
        table = FeatureTable(
            scan_ids=names,
            patient_ids=names,
            scan_sha256=tuple(files[n].stem for n in names),
            features=untuned.features(kept, ["max"])["max"],
            z_mm=np.zeros((len(names), SLICES.n_slices), dtype=np.float32),
        )
        return LabelledFeatures(
            tables={"max": table},
            labels={n: labels[n] for n in names},
            positive=positive,
            activations=kept,
        )


@functools.lru_cache(maxsize=1)
def _prepared(scan: Path, name: str) -> Volume:
    """Return a prepared scan; the last one is kept, for the next site to show it."""
    return prepare_scan(load_volume(scan, scan_id=name), PreparationSpec()).volume


def scans_of(folder: Path) -> Sequence[Path]:
    """Return the T1-weighted scans of a BIDS folder."""
    return sorted(folder.glob("sub-*/**/*_T1w.nii.gz"))
