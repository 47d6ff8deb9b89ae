"""The fitted map of scores: what it holds, how it is applied and written."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from mri_transfer.errors import HeadError
from mri_transfer.models.recalibration.methods import RecalibrationMethod

__all__ = [
    "CLIP",
    "PARAMETERS",
    "Recalibration",
    "RecalibrationMap",
    "check_scores",
    "terms",
]

FloatArray = npt.NDArray[np.float64]


#: Scores are moved into [CLIP, 1 - CLIP] before a logarithm is taken, and so is what a logistic
#: map makes of them.
CLIP = 1e-6

#: What each method is described by.
PARAMETERS: dict[str, tuple[str, ...]] = {
    "none": (),
    "platt": ("slope", "intercept"),
    "isotonic": ("scores", "values"),
    "beta": ("a", "b", "c"),
}


@dataclasses.dataclass(frozen=True)
class Recalibration:
    """A fitted map of scores; never decreasing.

    Attributes
    ----------
    method : {"none", "platt", "isotonic", "beta"}
    parameters : mapping of str to tuple of float
        ``none``: nothing. ``platt``: slope >= 0 and intercept, one number each, on the logit of
        the score. ``beta``: a >= 0, b >= 0 and c, one number each. ``isotonic``: rising scores
        and their values, between which the map is linear; beyond the ends it is level.

    Raises
    ------
    HeadError
        If the parameters are not those of the method.
    """

    method: RecalibrationMethod
    parameters: Mapping[str, tuple[float, ...]]

    def __post_init__(self) -> None:
        """Refuse parameters that are not a monotone map into probabilities."""
        fault = _fault(self.method, self.parameters)
        if fault is not None:
            raise HeadError(
                "not a recalibration",
                found=fault,
                expected="the entry that fit_recalibration wrote",
                remedy="Train the heads again",
            )

    def apply(self, scores: npt.ArrayLike) -> FloatArray:
        """Map scores to probabilities.

        Parameters
        ----------
        scores : array_like of float in [0, 1], any shape

        Returns
        -------
        ndarray of float64, of the shape of `scores`
            In [0, 1]; strictly inside unless the method is ``none``.

        Raises
        ------
        HeadError
            If a score is not a number from 0 to 1.
        """
        values = check_scores(scores)
        with torch.inference_mode():
            mapped: FloatArray = RecalibrationMap(self)(torch.from_numpy(values)).numpy()
        return mapped

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON values: method, parameters."""
        return {
            "method": self.method,
            "parameters": {name: list(values) for name, values in self.parameters.items()},
        }

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Recalibration:
        """Read what `as_dict` wrote.

        Raises
        ------
        HeadError
            If anything is missing, unknown or not a number that fits.
        """
        entry: Mapping[str, Any] = content if isinstance(content, Mapping) else {}
        parameters = entry.get("parameters")
        if set(entry) != {"method", "parameters"} or not isinstance(parameters, Mapping):
            raise HeadError(
                "not a recalibration",
                found=str(content)[:80],
                expected="method and parameters",
                remedy="Train the heads again",
            )
        plain = {
            str(name): tuple(values) if isinstance(values, list | tuple) else ()
            for name, values in parameters.items()
        }
        return cls(entry["method"], plain)


class RecalibrationMap(torch.nn.Module):
    """A fitted map of scores as a module, in double precision.

    Parameters
    ----------
    recalibration : Recalibration
    """

    knots: torch.Tensor
    widths: torch.Tensor
    slopes: torch.Tensor
    level: torch.Tensor

    def __init__(self, recalibration: Recalibration) -> None:
        super().__init__()
        self.method = recalibration.method
        known = {
            name: torch.tensor(values, dtype=torch.float64)
            for name, values in recalibration.parameters.items()
        }
        if self.method == "isotonic":
            self.register_buffer("knots", known["scores"][:-1])
            self.register_buffer("widths", known["scores"].diff())
            self.register_buffer("slopes", known["values"].diff() / self.widths)
            self.register_buffer("level", known["values"][0])
        elif self.method != "none":
            *slopes, intercept = (known[name] for name in PARAMETERS[self.method])
            self.register_buffer("slopes", torch.cat(slopes))
            self.register_buffer("level", intercept[0])

    def forward(self, scores: torch.Tensor) -> torch.Tensor:
        """Return the probabilities of scores from 0 to 1, of any shape."""
        if self.method == "none":
            return scores
        if self.method == "isotonic":
            # What each step has risen up to the score; level beyond the ends.
            risen = torch.minimum(torch.clamp(scores[..., None] - self.knots, 0), self.widths)
            return (risen * self.slopes).sum(-1) + self.level
        log_odds = (terms(self.method, scores) * self.slopes).sum(-1) + self.level
        # A score beyond all inner ones may meet a steep map: it must not end at 0 or 1.
        return torch.clamp(torch.sigmoid(log_odds), CLIP, 1.0 - CLIP)


def terms(method: str, scores: torch.Tensor) -> torch.Tensor:
    """Return what a logistic map is linear in, shape (..., n_slopes).

    Parameters
    ----------
    method : {"platt", "beta"}
    scores : Tensor in [0, 1], any shape
    """
    clipped = torch.clamp(scores, CLIP, 1.0 - CLIP)
    rising, falling = torch.log(clipped), -torch.log1p(-clipped)
    parts = [rising + falling] if method == "platt" else [rising, falling]
    return torch.stack(parts, -1)


def check_scores(scores: npt.ArrayLike) -> FloatArray:
    """Return scores as float64, of any shape.

    Raises
    ------
    HeadError
        If one is not a number from 0 to 1.
    """
    values = np.array(scores, dtype=np.float64)
    if not ((values >= 0.0) & (values <= 1.0)).all():
        raise HeadError("a score to recalibrate is not a number from 0 to 1")
    return values


def _fault(method: object, parameters: Mapping[str, tuple[float, ...]]) -> str | None:
    """Say what is wrong with a map's parameters; None if nothing is."""
    if not isinstance(method, str) or method not in PARAMETERS:
        return f"method {method!r}"
    if set(parameters) != set(PARAMETERS[method]):
        return f"parameters {sorted(parameters)} of {method}"
    for name, values in parameters.items():
        if not values or not all(
            isinstance(v, int | float) and not isinstance(v, bool) and math.isfinite(v)
            for v in values
        ):
            return f"{name} {values!r}"[:80]
    if method == "isotonic":
        knots, levels = np.array(parameters["scores"]), np.array(parameters["values"])
        good = (
            len(knots) == len(levels)
            and (np.diff(knots) > 0.0).all()
            and (np.diff(levels) >= 0.0).all()
            and knots.min() >= 0.0
            and knots.max() <= 1.0
            and levels.min() > 0.0
            and levels.max() < 1.0
        )
        return None if good else "steps that do not rise between 0 and 1"
    if any(len(values) != 1 for values in parameters.values()):
        return "more than one number for a parameter"
    negative = [name for name in PARAMETERS[method][:-1] if parameters[name][0] < 0.0]
    return f"{negative[0]} below 0" if negative else None
