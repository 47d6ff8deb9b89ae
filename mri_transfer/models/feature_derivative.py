"""A scan's features as a file of a BIDS derivatives folder, with a sidecar that describes them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mri_transfer.core.files import link_or_copy, write_json
from mri_transfer.core.specs import spec_dict
from mri_transfer.models.features import FeatureSpec, FeatureStore
from mri_transfer.models.trunks import TrunkSpec, trunk_digest

__all__ = ["write_feature_derivative"]


def write_feature_derivative(
    folder: Path,
    store: FeatureStore,
    key: str,
    *,
    stem: str,
    sources: Sequence[str],
    trunk: TrunkSpec,
    features: FeatureSpec,
) -> list[Path]:
    """Write one scan's features from the cache.

    Parameters
    ----------
    folder : Path
        The data set's folder.
    store : FeatureStore
    key : str
        Of the features.
    stem : str
        Folders and entities, such as ``sub-1/anat/sub-1``.
    sources : sequence of str
        What the features were computed from: BIDS URIs.
    trunk : TrunkSpec
    features : FeatureSpec
        Resolved: without `auto`.

    Returns
    -------
    list of Path
        The arrays (safetensors: `features`, shape (n_slices, n_features), and `z_mm`, the height
        of each slice) and the sidecar.

    Raises
    ------
    StoreError
        If the entry is missing or damaged.
    """
    scan = store.get(key, scan_id=stem)
    name = "".join(letter for letter in trunk.name if letter.isalnum())
    arrays = folder / f"{stem}_desc-{name}_features.safetensors"
    link_or_copy(store.path(key), arrays)
    sidecar = arrays.with_suffix(".json")
    n_slices, n_features = scan.features.shape
    write_json(
        sidecar,
        {
            "Description": f"Features of {n_slices} axial slices from the trunk {trunk.name}",
            "Sources": list(sources),
            "Arrays": {
                "features": {
                    "Shape": [n_slices, n_features],
                    "Description": "One row per slice, from the lowest to the highest",
                },
                "z_mm": {"Shape": [n_slices], "Units": "mm", "Description": "Height of the slice"},
            },
            "Key": key,
            "Trunk": spec_dict(trunk),
            "WeightsSha256": trunk_digest(trunk),
            "Features": spec_dict(features),
        },
    )
    return [arrays, sidecar]
