"""What lies beside the numbers in a bundle: licence, list of software, model card."""

from __future__ import annotations

import importlib.metadata
import json
import re
import uuid
from collections.abc import Mapping
from typing import Any

from mri_transfer.cohorts.labels import spelt_out
from mri_transfer.errors import StoreError
from mri_transfer.models.trunks import TRUNKS, TrunkSpec, weights_released
from mri_transfer.version import __version__

__all__ = ["licence", "model_card", "sbom"]

_PACKAGE = "mri-transfer"

_LICENCE = """\
Heads, thresholds and recalibration in this bundle were learned from a cohort of patients. Under
which terms they may be passed on follows from the terms of that cohort's data: for the authors to
supply.

The software that made and reads the bundle, mri-transfer, is under the MIT licence.

{where} The bundle names them by digest. {notice}

Research use only. This is not a medical device.
"""


def licence(trunk: TrunkSpec, *, tail: Mapping[str, Any] | None = None) -> str:
    """Return the text of the licence file of a bundle.

    Parameters
    ----------
    trunk : TrunkSpec
        That weights come from.
    tail : mapping, optional
        What `bundle.json` says of a trained tail.
    """
    where = "The trunk's weights are not in this bundle."
    if tail is not None:
        where = (
            f"Weights of the trunk's stages behind {tail['cut']} are in this bundle, as they were\n"
            "trained further; those of the stages before are not."
        )
    return _LICENCE.format(where=where, notice=_notice(trunk))


def _notice(trunk: TrunkSpec) -> str:
    if trunk.weights == "random":
        return "They are random\nnumbers."
    if weights_released(trunk):
        return TRUNKS[trunk.name].notice
    return "Under which\nterms they may be used is for the authors to supply."


def sbom() -> str:
    """Return the versions of all software that the numbers depend on, as CycloneDX 1.6 (JSON).

    The same versions give the same bytes: no time, and a serial number derived from the content.
    """
    from cyclonedx.model.bom import Bom
    from cyclonedx.model.component import Component, ComponentType
    from cyclonedx.output.json import JsonV1Dot6

    def component(name: str, version: str, kind: ComponentType) -> Component:
        return Component(
            name=name, version=version, type=kind, bom_ref=f"pkg:pypi/{name}@{version}"
        )

    parts = [
        component(name, version, ComponentType.LIBRARY)
        for name, version in sorted(_dependencies().items())
    ]
    subject = component(_PACKAGE, __version__, ComponentType.APPLICATION)
    bom = Bom(components=parts)
    bom.metadata.component = subject
    bom.register_dependency(subject, parts)
    names = "\n".join(str(one.bom_ref.value) for one in [subject, *parts])
    bom.serial_number = uuid.uuid5(uuid.NAMESPACE_URL, names)
    content = json.loads(JsonV1Dot6(bom).output_as_string())
    content["metadata"].pop("timestamp", None)
    for one in [content["metadata"]["component"], *content["components"]]:
        # The reference is the package's URL, under whose name other tools look for it.
        one["purl"] = one["bom-ref"]
    return json.dumps(content, sort_keys=True, indent=2, ensure_ascii=False) + "\n"


def _dependencies() -> dict[str, str]:
    """Return the installed version of every package this one asks for."""
    try:
        wanted = importlib.metadata.requires(_PACKAGE) or []
    except importlib.metadata.PackageNotFoundError as error:
        raise StoreError(
            "the versions of the software cannot be told: the package is not installed",
            remedy="Install it, for example with `pip install -e .` in its folder",
        ) from error
    versions = {}
    for text in wanted:
        if "extra ==" in text:
            continue
        name = re.split(r"[^\w.-]", text, maxsplit=1)[0]
        versions[name.lower().replace("_", "-")] = importlib.metadata.version(name)
    return versions


def model_card(facts: Mapping[str, Any]) -> str:
    """Return a short model card (Markdown) of a bundle's facts, the content of `bundle.json`."""
    labels, cohort = facts["labels"], facts["cohort"]
    lines = [
        f"# {spelt_out(_plain(labels['positive']))} against {spelt_out(_plain(labels['others']))} "
        "from T1 brain MRI",
        "",
        f"Version {facts['version']}. **Research use only; not a medical device.**",
        "",
        "## Model",
        "",
        f"{_trunk_words(facts)} and a {facts['procedure']['head']['kind']} head; slices join by "
        f"{facts['procedure']['aggregation'].replace('_', ' ')}; recalibration "
        f"{facts['recalibration']['method']}; threshold {facts['threshold']:.3f} "
        f"({facts['threshold_from']}).",
        *_tail_words(facts.get("tail")),
        "",
        "## Training data",
        "",
        f"{cohort['n_patients']} patients ({_counts(cohort['n_by_label'])}), "
        f"{cohort['n_scans']} scans{', synthetic' if cohort['synthetic'] else ''}.",
        "",
        *_norm_words(facts.get("ventricular_norm")),
        "## Expected performance",
        "",
        facts["performance"]["from"] + ".",
        "",
        "| figure | value | 95 % interval | n |",
        "|---|---|---|---|",
        *map(_row, sorted(facts["performance"]["figures"].items())),
        "",
        "## For the authors to supply",
        "",
        "Intended use, the reference standard and who made it, ethics approval, licence of the "
        "data, contact.",
        "",
    ]
    return "\n".join(lines)


def _trunk_words(facts: Mapping[str, Any]) -> str:
    recipe, tail = facts["recipe"]["trunk"], facts.get("tail")
    weights = "random" if tail and tail["start"] == "random" else recipe["weights"]
    kind = "A frozen" if tail is None else "A fine-tuned"
    return f"{kind} {recipe['name']} trunk ({weights} weights, sha256 `{facts['trunk']['digest']}`)"


def _tail_words(tail: Mapping[str, Any] | None) -> list[str]:
    """Return what has to be known of a trained tail."""
    if tail is None:
        return []
    return [
        "",
        f"The stages behind {tail['cut']} ({', '.join(tail['stages'])}) were trained on the "
        f"patients below (strategy {tail['strategy']}, method {tail['method']}; {tail['numbers']} "
        f"numbers, {tail['bytes'] / 1e6:.1f} MB, parameters in half precision, as they were "
        "scored). One tail is shared by "
        f"{tail['shared_by']}. There are no sets of labels: those of cross-validation need the "
        "tail of every fold. The input contract was learned from features of patients whom the "
        "tail was trained on, and may turn away new ones a little more often than it says.",
    ]


def _norm_words(norm: Mapping[str, Any] | None) -> list[str]:
    if norm is None:
        return []
    low, high = norm["age_years"]
    return [
        "The size of a patient's ventricles is given as a percentile for age and sex, learnt from "
        f"{norm['n_people']} patients without the positive label, {low:g} to {high:g} years old. "
        "It does not enter the score.",
        "",
    ]


def _counts(by_label: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {_plain(label)}" for label, count in sorted(by_label.items()))


def _row(item: tuple[str, Mapping[str, Any]]) -> str:
    name, figure = item
    value, low, high = (figure.get(key) for key in ("value", "ci_low", "ci_high"))
    interval = "none" if low is None or high is None else f"{low:.3f} to {high:.3f}"
    shown = "undefined" if value is None else f"{value:.3f}"
    return f"| {name.replace('_', ' ')} | {shown} | {interval} | {figure['n']:.4g} |"


def _plain(text: str) -> str:
    """Return a text from a manifest without what Markdown or HTML would read as markup."""
    return re.sub(r"[^\w .,+-]", "_", text)
