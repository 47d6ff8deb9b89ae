"""One scan from its volume, or its file, to its features."""

from __future__ import annotations

from pathlib import Path

from mri_transfer.models.features import (
    FeatureSpec,
    ScanFeatures,
    SliceEncoder,
    encode,
    resolve_features,
)
from mri_transfer.models.trunks import TrunkSpec, load_trunk
from mri_transfer.scans.nifti_file import scan_name
from mri_transfer.scans.preparation import PreparationSpec, PreparedScan, prepare_scan
from mri_transfer.scans.slices import SliceSpec, cut_slices
from mri_transfer.scans.volumes import Volume, load_volume

__all__ = ["encode_scan", "encode_volume"]


def encode_scan(
    path: str | Path,
    *,
    preparation: PreparationSpec | None = None,
    slices: SliceSpec | None = None,
    features: FeatureSpec | None = None,
    trunk: SliceEncoder | None = None,
) -> ScanFeatures:
    """Prepare a scan, cut its slices and pass them through a trunk.

    Parameters
    ----------
    path : str or Path
        A .nii or .nii.gz file.
    preparation : PreparationSpec, optional
    slices : SliceSpec, optional
    features : FeatureSpec, optional
    trunk : SliceEncoder, optional
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
    encoded, _ = encode_volume(
        load_volume(path, scan_id=scan_name(path)),
        preparation=preparation or PreparationSpec(),
        slices=slices or SliceSpec(),
        features=spec,
        trunk=trunk,
    )
    return encoded


def encode_volume(
    volume: Volume,
    *,
    preparation: PreparationSpec,
    slices: SliceSpec,
    features: FeatureSpec,
    trunk: SliceEncoder,
) -> tuple[ScanFeatures, PreparedScan]:
    """Prepare a volume, cut its slices and pass them through a trunk.

    Returns
    -------
    features : ScanFeatures
    prepared : PreparedScan
        The volume that the slices were cut from.
    """
    prepared = prepare_scan(volume, preparation)
    return encode(cut_slices(prepared.volume, slices), trunk, features), prepared
