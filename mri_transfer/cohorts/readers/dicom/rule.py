"""Which DICOM series are 3-D T1-weighted scans of the head.

The first rule that applies decides:

1. Not MR, or not an image (secondary capture, report, raw data): no.
2. Localizers, phase maps or derived images (projections, reformats, maps): no.
3. The series, protocol or sequence name or the header indicates another contrast (localizer,
   FLAIR, diffusion, functional or perfusion, susceptibility, angiography, T2 or proton density,
   field map, calibration, quantitative map, spectroscopy), or a contrast agent was given: no.
4. The echo time exceeds `T1Spec.max_te_ms`, or the inversion time is outside the range for T1
   contrast: no. (MPRAGE-like sequences have 300 to 1500 ms, FLAIR longer, STIR shorter times.)
5. A pure spin echo: no. (T1 contrast, but black vessels.)
6. 2-D, or slices thicker than `T1Spec.max_thickness_mm`: no.
7. A name indicates T1 or a 3-D T1 sequence: MPRAGE, (F)SPGR, BRAVO, TFE, FFE, FLASH, TFL: yes.
8. An inversion-prepared gradient echo by its parameters: yes. Otherwise: no.

Completeness and the number of slices (`T1Spec.min_slices`) are checked afterwards. By selecting
series by name, the user overrides all rules except the first.
"""

from __future__ import annotations

import re

from pydantic import Field
from pydantic.dataclasses import dataclass

from mri_transfer.cohorts.readers.dicom.series import DicomSeries, Technical
from mri_transfer.core.specs import STRICT

__all__ = ["T1", "T1Spec", "kind_of_series"]

#: The required kind of series.
T1 = "T1"

_MR_IMAGES = ("1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.5.1.4.1.1.4.1")
#: Modalities that a message may contain; other values are free text.
_MODALITIES = frozenset(
    {"CR", "CT", "DX", "ES", "KO", "MG", "NM", "OT", "PR", "PT", "REG", "RF", "RTDOSE", "RTPLAN"}
    | {"RTSTRUCT", "SC", "SEG", "SR", "US", "XA"}
)
#: Patterns of other contrasts, for text whose separators were replaced by spaces.
_OTHER_CONTRASTS = {
    "localizer": r"locali[sz]er|scout|\bpilot|survey|\bloc\b|\b(3|three) ?plane|topogram",
    "FLAIR": r"flair",
    "diffusion": r"\b(ep2d ?)?diff|\bdwi|\bdti|\badc\b|trace ?w|tensor|hardi|\bb ?\d{3,4}\b",
    "functional or perfusion": r"\bbold\b|fmri|\bepi\b|resting|rs ?fmri|\bp?c?asl\b|perf|\bdsc\b",
    "susceptibility": r"\bswi|\bswan\b|\bqsm\b|t2 ?star|\bt2s\b|venobold|hemo",
    "angiography": r"\btof\b|angio|\bmra\b|\bmrv\b|\bmip\b|inhance",
    "T2 or proton density": r"\bt2|t2w|\bpd\b|\bpdw|\bstir\b|\bciss\b|fiesta|proton|\bdir\b",
    "field map": r"field ?map|\bb[01] ?map|gre field|\bb[01]\b",
    "calibration": r"calib|prescan|sense ?ref|asset|ref ?scan|\bshim|phantom",
    "quantitative map": r"\bmtr?\b|\bt1 ?map|relaxo|mp2rage|\binv ?[12]\b|\bvfa\b|\bmolli\b",
    "spectroscopy": r"spectro|\bmrs\b|\bcsi\b|\bsvs\b|\bpress\b",
    "T1 with a contrast agent": r"\bgad|\bgd\b|dotarem|\bpost ?(gd|km|kont|con|iv)|\bkm\b|"
    r"(?<!pre )(?<!non )(?<!no )(?<!without )(?<!w o )\b[ck]ontrast",
}
_T1_WORDS = re.compile(r"mp ?rage|(?<![a-z])t1|spgr|bravo|tfl|tfe|ffe|flash|\bfl3d|ir prep")


@dataclass(frozen=True, kw_only=True, config=STRICT)
class T1Spec:
    """The limits of the module's rules."""

    min_slices: int = Field(default=40, ge=2)
    """Smallest number of slices of a whole head."""
    max_thickness_mm: float = Field(default=3.0, gt=0)
    """Largest slice thickness."""
    max_te_ms: float = Field(default=15.0, gt=0)
    """Longest echo time; longer ones are T2*-weighted."""
    min_ti_ms: float = Field(default=300.0, ge=0)
    """Shortest inversion time, if there is one."""
    max_ti_ms: float = Field(default=1500.0, gt=0)
    """Longest inversion time."""


def kind_of_series(
    series: DicomSeries, spec: T1Spec, *, named: re.Pattern[str] | None = None
) -> str:
    """Return `T1` or a description of the series without patient data.

    Parameters
    ----------
    series : DicomSeries
    spec : T1Spec
    named : re.Pattern, optional
        Matches the descriptions of T1 series, and no others.

    Returns
    -------
    str
        Such as ``T1``, ``FLAIR``, ``2-D T1``, ``CT``.
    """
    technical = series.technical
    if technical.modality != "MR":
        return technical.modality if technical.modality in _MODALITIES else "unknown modality"
    if technical.sop_class not in _MR_IMAGES:
        return "not an MR image"
    if named is not None:
        return T1 if named.search(technical.description) else "not selected by the user"
    words = re.sub(r"[^a-z0-9]+", " ", technical.texts.casefold())
    return (
        _image_kind(technical)
        or _named_kind(technical, words)
        or _timed_kind(technical, spec)
        or _flat_kind(series, spec)
        or (T1 if _is_t1(technical, words) else "other contrast")
    )


def _image_kind(technical: Technical) -> str | None:
    kinds = technical.image_type
    if "LOCALIZER" in kinds:
        return "localizer"
    if any(kind.startswith("PHASE") for kind in kinds) or kinds[2:3] in (("P",), ("R",), ("I",)):
        return "phase, real or imaginary part"
    if kinds[:1] == ("DERIVED",) or "SECONDARY" in kinds:
        return "derived image"
    return None


def _named_kind(technical: Technical, words: str) -> str | None:
    if technical.angiography:
        return "angiography"
    for kind, pattern in _OTHER_CONTRASTS.items():
        if re.search(pattern, words):
            return kind
    return "T1 with a contrast agent" if technical.contrast else None


def _timed_kind(technical: Technical, spec: T1Spec) -> str | None:
    if technical.te_ms is not None and technical.te_ms > spec.max_te_ms:
        return "long echo time"
    ti_ms = technical.ti_ms
    if ti_ms is not None and not spec.min_ti_ms <= ti_ms <= spec.max_ti_ms:
        return "inversion time without T1 contrast"
    if technical.sequence and "SE" in technical.sequence and "GR" not in technical.sequence:
        return "spin echo"
    return None


def _flat_kind(series: DicomSeries, spec: T1Spec) -> str | None:
    technical = series.technical
    if technical.acquisition == "2D":
        return "2-D"
    thickness_mm = technical.thickness_mm
    return "thick slices" if (thickness_mm or 0) > spec.max_thickness_mm else None


def _is_t1(technical: Technical, words: str) -> bool:
    if _T1_WORDS.search(words):
        return True
    is_gradient_echo = "GR" in technical.sequence
    return is_gradient_echo and technical.acquisition == "3D" and technical.ti_ms is not None
