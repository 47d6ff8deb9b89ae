"""ModelBundle: a fitted model that predicts from a new scan; `BundleParts` is what it holds."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

from mri_transfer.bundle.consistency import demand_one_model
from mri_transfer.bundle.inference import ScanRequest, infer_scan
from mri_transfer.bundle.parts import BundleParts
from mri_transfer.bundle.prediction import Prediction
from mri_transfer.scans.nifti_file import scan_name

__all__ = ["ModelBundle"]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class ModelBundle(BundleParts):
    """A fitted model that predicts from a new scan."""

    def predict(
        self,
        path: str | Path,
        *,
        scan_id: str | None = None,
        patient_id: str | None = None,
        age_years: float | None = None,
        sex: str | None = None,
        covariates: Mapping[str, object] | None = None,
        force: bool = False,
    ) -> Prediction:
        """Score one scan, or say why not. No label is needed. Research use only.

        Parameters
        ----------
        path : str or Path
            A .nii or .nii.gz file.
        scan_id : str, optional
            By default the file's name.
        patient_id : str, optional
            To look the patient up among those trained on.
        age_years : float, optional
            To hold against the training patients' ages.
        sex : str, optional
            As the training manifest spells it, such as `F`. With the age it tells whether the
            ventricles are wide.
        covariates : mapping, optional
            Site and what is kept, for heads that harmonise.
        force : bool
            Score the scan even if it is outside of the input contract.

        Returns
        -------
        Prediction
            Without a score, and with the reasons, if the scan is outside of the input contract.

        Raises
        ------
        ScanError
            If the scan cannot be read.
        """
        request = ScanRequest(
            path=Path(path),
            scan_id=scan_name(path) if scan_id is None else scan_id,
            patient_id=patient_id,
            age_years=age_years,
            sex=sex,
            covariates=covariates,
            force=force,
        )
        return infer_scan(self, request).prediction

    def demand_consistent(self) -> None:
        """Raise StoreError unless the parts belong to one model."""
        demand_one_model(self)

    def self_test(self) -> None:
        """Raise StoreError unless the heads score the reference inputs as they must."""
        self.reference.check_heads(self.score)
