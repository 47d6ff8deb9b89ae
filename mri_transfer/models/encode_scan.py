"""One scan from its file to its features."""

from __future__ import annotations

from pathlib import Path

from mri_transfer.models.features import FeatureSpec, ScanFeatures, encode, resolve_features
from mri_transfer.models.trunks import Trunk, TrunkSpec, load_trunk
from mri_transfer.scans.preparation import PreparationSpec, prepare_scan
from mri_transfer.scans.slices import SliceSpec, cut_slices
from mri_transfer.scans.volumes import load_volume

__all__ = ["encode_scan"]


def encode_scan(
    path: str | Path,
    *,
    preparation: PreparationSpec | None = None,
    slices: SliceSpec | None = None,
    features: FeatureSpec | None = None,
    trunk: Trunk | None = None,
) -> ScanFeatures:
    """Prepare a scan, cut its slices and pass them through a trunk.

    Parameters
    ----------
    path : str or Path
        A .nii or .nii.gz file.
    preparation : PreparationSpec, optional
    slices : SliceSpec, optional
    features : FeatureSpec, optional
    trunk : Trunk, optional
        The default trunk if not given. Loading it takes a second: pass one for many scans.

    Returns
    -------
    ScanFeatures
        `features` has the shape (n_slices, n_features).

    Raises
    ------
    ScanError
        If the file cannot be read, prepared or cut into slices.
    WeightsError
        If the trunk's weights are not to be found.
    """
    spec = resolve_features(features or FeatureSpec())
    if trunk is None:
        trunk = load_trunk(TrunkSpec(), precision=spec.precision, device=spec.device)
    volume = load_volume(path, scan_id=Path(path).name.partition(".")[0])
    prepared = prepare_scan(volume, preparation or PreparationSpec())
    return encode(cut_slices(prepared.volume, slices or SliceSpec()), trunk, spec)
