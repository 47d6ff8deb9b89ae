"""The table of `new_site`: AUC of each way and what it gains, with intervals.

A draw's AUC is that of a site's patients who were not labelled in it; the figure is the mean over
sites and draws. Intervals are those of a bootstrap that resamples patients inside sites and labels,
and draws: patients enter with the weight of their resample, in all draws and for all ways alike.
"""

from __future__ import annotations

import collections
import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks._common import show_table
from mri_transfer.core.files import write_json

__all__ = ["write_table"]

FloatArray = npt.NDArray[np.float64]
#: (site, draw) to score by patient.
Fits = Mapping[tuple[int, int], Mapping[str, float]]
#: By severity, number of labelled patients and way.
Scores = dict[tuple[str, int, str], dict[tuple[int, int], dict[str, float]]]

_SAMPLES = 1000
_RIVALS = ("recalibrate", "moments", "combat", "warm", "linear", "url")


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Labels:
    """Who has which label, and at which site everybody is."""

    positive: Mapping[str, bool]
    site: Mapping[str, int]

    def of_site(self, site: int, label: bool) -> list[str]:
        return sorted(n for n, s in self.site.items() if s == site and self.positive[n] == label)


def _read(folder: Path) -> tuple[Scores, Scores, _Labels]:
    scores: Scores = collections.defaultdict(dict)
    old: Scores = collections.defaultdict(dict)
    for path in sorted(folder.glob("*.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines():
            entry = json.loads(line)
            severity, n_labelled, site, draw, way = entry["fit"]
            scores[severity, n_labelled, way][site, draw] = entry["scores"]
            if "old" in entry:
                old[severity, n_labelled, way][site, draw] = entry["old"]
    cohort = json.loads((folder / "cohort.json").read_text(encoding="utf-8"))
    positive = {name: label == cohort["positive"] for name, label in cohort["label"].items()}
    return scores, old, _Labels(positive=positive, site=cohort["site"])


def _kernel(scores: Mapping[str, float], patients: tuple[list[str], list[str]]) -> FloatArray:
    """Return 1, 1/2 or 0 of each pair of a positive and a negative one; NaN if one was labelled."""
    above, below = (np.array([scores.get(n, np.nan) for n in names]) for names in patients)
    gap = above[:, None] - below[None, :]
    return np.where(np.isnan(gap), np.nan, (np.sign(gap) + 1) / 2)


class _Resamples:
    """Weights of patients and draws, the same for all ways."""

    def __init__(self, labels: _Labels, n_sites: int) -> None:
        self.rng = np.random.default_rng(0)
        self.patients = {
            site: (labels.of_site(site, True), labels.of_site(site, False))
            for site in range(n_sites)
        }
        self.weights = {
            site: tuple(
                np.concatenate(
                    [
                        np.ones((1, len(names))),
                        self.rng.multinomial(
                            len(names), [1 / len(names)] * len(names), size=_SAMPLES
                        ),
                    ]
                )
                for names in pair
            )
            for site, pair in self.patients.items()
        }

    def means(self, own: Fits, cells: Sequence[tuple[int, int]]) -> FloatArray:
        """Return the mean AUC over sites and draws: first as it is, then of each resample.

        Parameters
        ----------
        own : mapping
        cells : sequence of (site, draw)
            Those that count.
        """
        sites = sorted({site for site, _ in cells})
        total = np.zeros(_SAMPLES + 1)
        for site in sites:
            above, below = self.weights[site]
            draws = sorted(draw for at, draw in cells if at == site)
            drawn = self._draw_weights(site, len(draws))
            for weight, draw in zip(drawn.T, draws, strict=True):
                kernel = _kernel(own[site, draw], self.patients[site])
                known = ~np.isnan(kernel)
                number = np.einsum("bp,pn,bn->b", above, known.astype(float), below, optimize=True)
                summed = np.einsum(
                    "bp,pn,bn->b", above, np.nan_to_num(kernel), below, optimize=True
                )
                auc = np.divide(summed, number, out=np.full(len(number), 0.5), where=number > 0)
                total += weight * auc / len(draws)
        means: FloatArray = total / len(sites)
        return means

    def _draw_weights(self, site: int, n_draws: int) -> FloatArray:
        """Return how often each draw of a site counts, the same for all ways."""
        rng = np.random.default_rng([site, n_draws])
        drawn = rng.multinomial(n_draws, [1 / n_draws] * n_draws, size=_SAMPLES)
        return np.concatenate([np.ones((1, n_draws)), drawn]).astype(np.float64)


def _estimate(values: FloatArray) -> dict[str, float]:
    low, high = np.quantile(values[1:], [0.025, 0.975])
    return {"value": float(values[0]), "ci_low": float(low), "ci_high": float(high)}


def _log_loss(own: Fits, labels: _Labels) -> float:
    losses = [
        -np.log(np.clip(score if labels.positive[name] else 1 - score, 1e-6, 1))
        for scores in own.values()
        for name, score in scores.items()
    ]
    return float(np.mean(losses))


def summarise(folder: Path) -> list[dict[str, Any]]:
    """Return a row a severity, number of labelled patients and way."""
    scores, old, labels = _read(folder)
    n_sites = len(set(labels.site.values()))
    resamples = _Resamples(labels, n_sites)
    rows = []
    for (severity, n_labelled, way), own in sorted(scores.items()):
        base = scores.get((severity, n_labelled, "none"), {})
        cells = sorted(set(own) & set(base))
        if {site for site, _ in cells} != set(range(n_sites)):
            continue
        found, unchanged = resamples.means(own, cells), resamples.means(base, cells)
        row: dict[str, Any] = {
            "severity": severity,
            "labelled": n_labelled,
            "way": way,
            "fits": len(cells),
            "auc": _estimate(found),
            "gain": _estimate(found - unchanged),
            "log_loss": _log_loss({k: own[k] for k in cells}, labels),
        }
        if way in ("film", "film_blended", "flute", "adapters"):
            setting = (severity, n_labelled)
            row["against_rivals"] = _against(scores, setting, own, cells, resamples)
        forgotten = old.get((severity, n_labelled, way))
        if forgotten:
            row["forgetting"] = _forgetting(forgotten, old[severity, n_labelled, "none"], labels)
        rows.append(row)
    return rows


def _against(
    scores: Scores,
    setting: tuple[str, int],
    own: Fits,
    cells: Sequence[tuple[int, int]],
    resamples: _Resamples,
) -> dict[str, Any]:
    """Return the difference to each rival on the same sites and draws."""
    differences = {}
    for rival in ("none", *_RIVALS):
        other = scores.get((*setting, rival), {})
        shared = [cell for cell in cells if cell in other]
        if {site for site, _ in shared} == {site for site, _ in cells}:
            gap = resamples.means(own, shared) - resamples.means(other, shared)
            differences[rival] = {**_estimate(gap), "fits": len(shared)}
    return differences


def _forgetting(
    after: Mapping[tuple[int, int], Mapping[str, float]],
    before: Mapping[tuple[int, int], Mapping[str, float]],
    labels: _Labels,
) -> dict[str, float]:
    changes = []
    for place in set(after) & set(before):
        pair = []
        for scores in (before[place], after[place]):
            names = sorted(scores)
            patients = (
                [n for n in names if labels.positive[n]],
                [n for n in names if not labels.positive[n]],
            )
            pair.append(float(_kernel(scores, patients).mean()))
        changes.append(pair)
    first, last = np.array(changes).mean(axis=0)
    return {"before": float(first), "after": float(last), "n": len(changes)}


def write_table(folder: Path, out: Path | None) -> None:
    """Show the table, and write it."""
    rows = summarise(folder)

    def text(entry: Mapping[str, float], sign: str = "") -> str:
        shown = [format(entry[k], f"{sign}.3f") for k in ("value", "ci_low", "ci_high")]
        return f"{shown[0]} ({shown[1]} to {shown[2]})"

    for severity in ("severe", "mild", "none"):
        own = [row for row in rows if row["severity"] == severity]
        if own:
            show_table(
                f"Sites: {severity}",
                ["way", "N", "fits", "AUC", "gain", "log loss", "old before", "old after"],
                [
                    [
                        row["way"],
                        str(row["labelled"]),
                        str(row["fits"]),
                        text(row["auc"]),
                        text(row["gain"], "+"),
                        f"{row['log_loss']:.3f}",
                        *(
                            f"{row['forgetting'][k]:.3f}" if "forgetting" in row else "-"
                            for k in ("before", "after")
                        ),
                    ]
                    for row in own
                ],
            )
    facts = {
        path.stem.removeprefix("facts_"): json.loads(path.read_text(encoding="utf-8"))
        for path in sorted(folder.glob("facts_*.json"))
    }
    if out is not None:
        write_json(out, {"schema": "mri-transfer/new-site/1", "rows": rows, "facts": facts})
