"""A new site with a handful of labelled patients: which way to adapt is worth it, if any.

The patients of one cohort are dealt to five pseudo-sites with a contrast curve, noise, bias field
and resolution of their own. Each site in turn is the new one: a model is fitted to the other four,
and adapted to N labelled patients of the new one; the site's other patients are scored. Draws of
labelled patients are the same for all ways.

Two steps, since ways that pass pictures through the last stage cost a thousand times as much as
those on features. `run` follows some ways and adds a line a fit to a file; what is there already is
not computed again. `table` makes the table of all files in the folder.

    python -m benchmarks.new_site run --manifest M.csv --folder OUT --ways cheap --draws 100
    python -m benchmarks.new_site run --manifest M.csv --folder OUT --ways film --labelled 8
    python -m benchmarks.new_site table --folder OUT --out new_site.json
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import json
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from benchmarks._new_site_table import write_table
from benchmarks._pseudo_sites import FILM, SLICES, TRUNK, Encoder, assign_sites, scans_of
from mri_transfer.cohorts.manifest.manifest import read_manifest
from mri_transfer.core.files import write_json
from mri_transfer.core.tensorfile import read_tensors, write_tensors
from mri_transfer.models.adaptation.blender import fit_blender, looks_of
from mri_transfer.models.adaptation.domains import (
    DomainPatients,
    KnownDomains,
    fit_domain_set,
)
from mri_transfer.models.adaptation.film import random_set
from mri_transfer.models.adaptation.settings import AdaptationSpec, DomainSpec, StepsSpec
from mri_transfer.scans.pseudo_sites import PseudoSite, pseudo_sites
from mri_transfer.training.adaptation.arms import ARMS, ArmName, KnownSource, fit_arm
from mri_transfer.training.adaptation.domain_cohorts import domains_of
from mri_transfer.training.adaptation.leaks import demand_blind
from mri_transfer.training.adaptation.spread import draw_labelled
from mri_transfer.training.dataset import LabelledFeatures, TrainingView
from mri_transfer.training.fitted_model import FittedModel, patient_scores
from mri_transfer.training.model_config import ModelConfig
from mri_transfer.training.refit import refit_on_all
from mri_transfer.training.search import SearchSpec

__all__ = ["main"]

_SITES = 5
_POSITIVE = "AD"
#: Two pictures of a scan in a step, and six epochs for a set: what one shared processor affords.
SPEC = AdaptationSpec(
    film=StepsSpec(slices_per_scan=2), domains=DomainSpec(epochs=6, slices_per_scan=2)
)
_CHEAP: tuple[str, ...] = ("none", "recalibrate", "moments", "warm", "linear", "url")
#: Its iterations take a second.
_SLOW: tuple[str, ...] = ("combat",)
_FILM: tuple[str, ...] = ("film", "film_blended", "flute", "adapters", "film_random")
#: Ways that are followed once more with permuted labels, and whose forgetting is measured.
_PERMUTED: tuple[str, ...] = tuple(f"{name}*permuted" for name in ("warm", "linear", "url"))
#: Controls, and the dearest rival, are followed in fewer draws.
_FEWER_DRAWS = {**dict.fromkeys(_PERMUTED, 10), "adapters": 2, "film_random": 2}


class Experiment:
    """The cohort at one severity.

    Parameters
    ----------
    manifest : Path
    cache : Path
    severity : {"none", "mild", "severe"}
    """

    def __init__(self, manifest: Path, cache: Path, severity: Any) -> None:
        table = read_manifest(manifest)
        self.patients = table.patients()
        self.where = assign_sites(self.patients, _SITES, seed=0)
        self.encoder, self.cache, self.severity = Encoder(cache), cache, severity
        sites = pseudo_sites(severity)
        scans = {str(row.patient_id): Path(str(row.path)) for row in table.scans.itertuples()}
        files = {
            name: self.encoder.encode(path, name, sites[self.where[name]])
            for name, path in scans.items()
        }
        self.cohort = self.encoder.cohort(files, dict(self.patients["label"]), positive=_POSITIVE)
        self.config = ModelConfig(
            slices=SLICES,
            trunk=TRUNK,
            features=self.encoder.spec,
            search=SearchSpec(space="none"),
        )

    def of_site(self, site: int) -> LabelledFeatures:
        """Return the patients of a site."""
        return self.cohort.only([name for name, at in self.where.items() if at == site])

    @functools.cache  # noqa: B019  (one experiment lives as long as the program)
    def source(self, site: int, *, quarter: int | None = None) -> KnownSource:
        """Return the model of all sites but one; without a quarter of their patients, if asked."""
        names = sorted(name for name, at in self.where.items() if at != site)
        old = self.cohort.only([n for i, n in enumerate(names) if quarter != i % 4])
        model = refit_on_all(self.config, old).trained
        return KnownSource(model=model, patients=old, stages=self.encoder.source)

    def held_out(self, site: int, quarter: int) -> LabelledFeatures:
        """Return the quarter that `source` leaves out."""
        names = sorted(name for name, at in self.where.items() if at != site)
        return self.cohort.only([n for i, n in enumerate(names) if quarter == i % 4])

    @functools.cache  # noqa: B019
    def film_set(self, site: int) -> dict[str, npt.NDArray[Any]]:
        """Return the FiLM set of a site, from a file if it is there."""
        path = self.cache / "sets" / f"{self.severity}_{site}.safetensors"
        if not path.is_file():
            path.parent.mkdir(exist_ok=True)
            found = fit_domain_set(
                self.encoder.source,
                FILM,
                self._domain(site),
                pooling="max",
                spec=SPEC.domains,
                seed=0,
            )
            write_tensors(path, found, schema="benchmark")
        return read_tensors(path, schema="benchmark")

    def _domain(self, site: int) -> DomainPatients:
        return self._parts[str(site)]

    @functools.cached_property
    def _parts(self) -> dict[str, DomainPatients]:
        domain = {name: str(site) for name, site in self.where.items()}
        return domains_of(self.cohort, self.patients, domain, spec=SPEC.domains)

    @functools.cache  # noqa: B019
    def domains(self, site: int) -> KnownDomains:
        """Return sets and blender of all sites but one."""
        known = {f"site{s + 1}": s for s in range(_SITES) if s != site}
        parts = {name: self._domain(s) for name, s in known.items()}
        blender = fit_blender(
            {name: looks_of(part.activations) for name, part in parts.items()},
            {name: part.targets[:, 0] for name, part in parts.items()},
            spec=SPEC.domains,
            seed=0,
        )
        sets = {name: self.film_set(s) for name, s in known.items()}
        return KnownDomains(sets=sets, blender=blender, tuning=FILM)

    def known(self, site: int, way: str, draw: int, *, quarter: int | None = None) -> KnownSource:
        """Return what a way may know of the other sites."""
        source = self.source(site, quarter=quarter)
        if way not in ("film_blended", "flute", "film_random"):
            return source
        domains = self.domains(site)
        if way == "film_random":
            drawn = {name: random_set(domains.sets, seed=draw) for name in domains.sets}
            domains = dataclasses.replace(domains, sets=drawn)
        return dataclasses.replace(source, domains=domains)


def follow(way: str, view: TrainingView, source: KnownSource, *, seed: int) -> FittedModel:
    """Adapt by a way of the benchmark: one of the library's, or a control."""
    name, _, control = way.partition("*")
    if control == "permuted":
        rng = np.random.default_rng(seed)
        labels = dict(
            zip(view.labels, rng.permutation(list(view.labels.values())).tolist(), strict=True)
        )
        view = dataclasses.replace(view, labels=labels)
    known: ArmName = "film_blended" if name == "film_random" else name  # type: ignore[assignment]
    return fit_arm(known, view, source, SPEC, seed=seed).model


def _fits(arguments: argparse.Namespace) -> Iterator[tuple[str, int, int, int, str]]:
    ways = {"cheap": (*_CHEAP, *_PERMUTED), "slow": _SLOW, "film": _FILM}[arguments.ways]
    for draw in range(arguments.draws):
        for severity in arguments.severity:
            for n_labelled in arguments.labelled:
                for site in range(_SITES):
                    for way in ways:
                        if draw < _FEWER_DRAWS.get(way, arguments.draws):
                            yield severity, n_labelled, site, draw, way


def run(arguments: argparse.Namespace) -> None:
    """Follow the ways, and add what they score to the folder."""
    arguments.folder.mkdir(parents=True, exist_ok=True)
    _write_cohort(arguments.manifest, arguments.folder / "cohort.json")
    path = arguments.folder / f"{arguments.ways}.jsonl"
    lines = path.read_text().splitlines() if path.is_file() else []
    done = {tuple(json.loads(line)["fit"]) for line in lines}
    experiment = functools.cache(
        lambda severity: Experiment(arguments.manifest, arguments.cache, severity)
    )
    with path.open("a", encoding="utf-8") as file:
        for fit in _fits(arguments):
            if fit in done:
                continue
            line = _one(experiment(fit[0]), *fit[1:], forgetting=arguments.forgetting)
            file.write(json.dumps({"fit": fit, **line}) + "\n")
            file.flush()


def _write_cohort(manifest: Path, path: Path) -> None:
    """Write who has which label and is at which site, for the table."""
    patients = read_manifest(manifest).patients()
    where = assign_sites(patients, _SITES, seed=0)
    content = {"positive": _POSITIVE, "label": dict(patients["label"]), "site": where}
    write_json(path, content)


def _one(
    at: Experiment, n_labelled: int, site: int, draw: int, way: str, *, forgetting: int
) -> dict[str, Any]:
    own = at.of_site(site)
    seed = zlib.crc32(f"{site} {n_labelled} {draw}".encode())
    labelled = draw_labelled(own, n_labelled, seed=seed)
    others = own.only(set(own.patient_ids) - set(labelled))
    model = follow(way, own.view(labelled), at.known(site, way, draw), seed=seed)
    found: dict[str, Any] = {
        "scores": dict(zip(others.patient_ids, patient_scores(model, others).tolist(), strict=True))
    }
    if draw < forgetting:
        quarter = draw % 4
        base = at.known(site, way, draw, quarter=quarter)
        adapted = follow(way, own.view(labelled), base, seed=seed)
        old = at.held_out(site, quarter)
        names = old.patient_ids
        found["old"] = dict(zip(names, patient_scores(adapted, old).tolist(), strict=True))
    return found


def facts(arguments: argparse.Namespace) -> None:
    """Write the proof of blindness, and what the blender says of scans it has not seen."""
    at = Experiment(arguments.manifest, arguments.cache, arguments.severity[0])
    own = at.of_site(0)
    labelled = draw_labelled(own, 8, seed=0)
    blind = {}
    for way in ARMS if arguments.ways == "film" else _CHEAP:
        demand_blind(
            lambda site, way=way: follow(  # type: ignore[misc]
                way, site.view(labelled), at.known(0, way, 0), seed=0
            ),
            own,
            labelled,
        )
        blind[way] = True
    content = {"blind": blind, "blender": _recognised(at, arguments.ixi)}
    write_json(arguments.folder / f"facts_{at.severity}.json", content)


def _recognised(at: Experiment, ixi: Path | None) -> dict[str, Any]:
    """Return the blend's weights for sets of known sites' own patients, half of them unseen."""
    halves = {}
    parts = {f"site{s + 1}": at._domain(s) for s in range(_SITES)}
    looks = {name: looks_of(part.activations) for name, part in parts.items()}
    labels = {name: part.targets[:, 0] for name, part in parts.items()}
    learned = {name: np.arange(len(of)) % 2 == 0 for name, of in labels.items()}
    blender = fit_blender(
        {name: looks[name][learned[name]] for name in looks},
        {name: labels[name][learned[name]] for name in looks},
        spec=SPEC.domains,
        seed=0,
    )
    for name in looks:
        halves[name] = blender.weights(looks[name][~learned[name]])
    found: dict[str, Any] = {"unseen patients of": halves}
    if ixi is not None:
        found["IXI shown as"] = {
            name: _weights(at, blender, files) for name, files in _shown(at, ixi).items()
        }
    return found


def _shown(at: Experiment, folder: Path) -> dict[str, list[Path]]:
    """Return the scans of a folder, as they are and as each site shows them."""
    sites = (*pseudo_sites(at.severity), PseudoSite(name="as it is"))
    files: dict[str, list[Path]] = {site.name: [] for site in sites}
    for scan in scans_of(folder):
        for site in sites:
            files[site.name].append(at.encoder.encode(scan, scan.name, site))
    return files


def _weights(at: Experiment, blender: Any, files: list[Path]) -> dict[str, float]:
    from mri_transfer.models.activations import ActivationTable

    table = ActivationTable(files=tuple(files), array=at.encoder.store.array)
    weights: dict[str, float] = blender.weights(looks_of(table))
    return weights


def main(argv: Sequence[str] | None = None) -> None:
    """Run, or make the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("step", choices=["run", "facts", "table"])
    parser.add_argument("--folder", type=Path, required=True, help="of the fits")
    parser.add_argument("--manifest", type=Path, help="cohort with one scan a patient")
    parser.add_argument("--cache", type=Path, default=Path("build/new_site_cache"))
    parser.add_argument("--ixi", type=Path, help="folder of healthy scans of another place")
    parser.add_argument("--ways", choices=["cheap", "slow", "film"], default="cheap")
    parser.add_argument("--draws", type=int, default=100)
    parser.add_argument("--labelled", type=int, nargs="+", default=[4, 8, 16])
    parser.add_argument("--severity", nargs="+", default=["severe", "mild", "none"])
    parser.add_argument("--forgetting", type=int, default=4, help="draws that it is measured in")
    parser.add_argument("--out", type=Path, help="write the table as JSON")
    arguments = parser.parse_args(argv)
    torch.set_num_threads(1)
    if arguments.step == "table":
        write_table(arguments.folder, arguments.out)
    elif arguments.manifest is None:
        parser.error("--manifest is needed")
    else:
        (run if arguments.step == "run" else facts)(arguments)


if __name__ == "__main__":
    main()
