"""Preparation of hard heads: turned, atrophied, cut, noisy and bright-scalped copies of real ones.

Every whole head of the data folder is prepared as it came, then in some twenty to thirty altered
copies whose truth is known. A case is lost if quality excludes it although the head is sound and
its header right; it is passed wrongly if quality lets it through although it was placed elsewhere,
or its header is wrong and nothing was said. The method's constants were chosen on the heads marked
as tuned; the others are reported only.

Cases that were done are kept in the folder `--work`, so that an interrupted run goes on.
"""

from __future__ import annotations

import concurrent.futures
import json
import multiprocessing
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks._common import Target, argument_parser, finish, show_table
from benchmarks._wild_cases import Head, case_names, list_heads, make_case
from mri_transfer.core.files import write_json
from mri_transfer.scans.preparation import PreparationSpec, prepare_scan
from mri_transfer.scans.preparation.registration import align
from mri_transfer.scans.preparation.template import image_of_volume
from mri_transfer.scans.quality import QualitySpec, ScoredScan, judge_cohort, measure_scan

__all__ = ["main"]

#: Mean distance over the brain by which a placement may differ from the truth.
_MAX_ERROR_MM = 8.0
_CORNERS_MM = np.array([[x, y, z, 1.0] for x in (-60, 60) for y in (-90, 55) for z in (-40, 65)]).T


def _reference(head: Head, work: Path) -> np.ndarray[Any, Any]:
    """Return where the template lies in a head as it came; looked at once by eye."""
    path = work / f"{head.name}.reference.json"
    if not path.is_file():
        matrix = align(image_of_volume(head.load())).matrix
        write_json(path, {"matrix": matrix.tolist()})
    return np.array(json.loads(path.read_text(encoding="utf-8"))["matrix"])


def _measure(head: Head, name: str, work: Path) -> dict[str, Any]:
    path = work / f"{head.name}.{name}.json"
    if path.is_file():
        done: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return done
    case = make_case(head, head.load(), _reference(head, work), name)
    start = time.process_time()
    prepared = prepare_scan(case.volume, PreparationSpec(scans="all"))
    seconds = time.process_time() - start
    scored = ScoredScan(
        scan_id=name,
        patient_id=head.name,
        passed_through=prepared.passed_through,
        scores=measure_scan(case.volume, prepared),
    )
    quality = judge_cohort([scored], QualitySpec())[0]
    assert prepared.alignment is not None
    off = (prepared.alignment.matrix - case.matrix) @ _CORNERS_MM
    result = {
        "head": head.name,
        "case": name,
        "tuned_on": head.tuned_on,
        "thick": head.thick,
        "turn": case.turn,
        "found_turn": prepared.turn,
        "verdict": quality.verdict,
        "reasons": list(quality.reasons),
        "error_mm": float(np.linalg.norm(off[:3], axis=0).mean()),
        "dice": scored.scores.values["dice"],
        "information": prepared.alignment.information,
        "lead": prepared.alignment.margin,
        "seconds": seconds,
    }
    write_json(path, result)
    return result


def _is_lost(result: dict[str, Any]) -> bool:
    return result["turn"] == 0 and result["verdict"] == "fail"


def _is_wrong(result: dict[str, Any]) -> bool:
    passed = result["verdict"] != "fail"
    return passed and (result["turn"] != 0 or result["error_mm"] > _MAX_ERROR_MM)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure every case, print the tables and write the result."""
    parser = argument_parser(__doc__ or "")
    parser.add_argument("--work", type=Path, default=Path("build/preparation_wild"))
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--every", type=int, default=1, help="take every n-th altered copy only")
    options = parser.parse_args(arguments)
    options.work.mkdir(parents=True, exist_ok=True)
    heads = list_heads()
    plain = [(head, "plain") for head in heads]
    altered = [
        (head, name)
        for place, head in enumerate(heads)
        for name in case_names(head, place=place)
        if name != "plain"
    ][:: options.every]
    context = multiprocessing.get_context("spawn")
    results = []
    with concurrent.futures.ProcessPoolExecutor(options.jobs, mp_context=context) as pool:
        # A head's reference is made with its plain case: those come first.
        for cases in (plain, altered):
            jobs = [pool.submit(_measure, head, name, options.work) for head, name in cases]
            for number, job in enumerate(concurrent.futures.as_completed(jobs), start=1):
                result = job.result()
                results.append(result)
                flag = "LOST" if _is_lost(result) else "WRONG" if _is_wrong(result) else ""
                print(
                    f"{number}/{len(jobs)} {result['head']} {result['case']}"
                    f" {result['verdict']} {result['error_mm']:.1f} mm {flag}",
                    flush=True,
                )
    _report(sorted(results, key=lambda r: (r["head"], r["case"])), options.out)


def _report(results: list[dict[str, Any]], out: Path | None) -> None:
    rows = []
    kinds = list(dict.fromkeys(result["case"].partition("-")[0] for result in results))
    for tuned_on in (True, False):
        for kind in kinds:
            group = [
                r
                for r in results
                if r["tuned_on"] == tuned_on and r["case"].partition("-")[0] == kind
            ]
            if group:
                rows.append(_row(kind, "tuned" if tuned_on else "held out", group))
    show_table("Hard heads", _HEADER, rows)
    for result in results:
        if _is_lost(result) or _is_wrong(result):
            print(
                f"  {'lost' if _is_lost(result) else 'wrong'}: {result['head']} {result['case']}:"
                f" {'; '.join(result['reasons'])[:150]}"
            )
    upright = [r for r in results if r["turn"] == 0]
    sound = [r for r in upright if r["case"] == "plain"]
    finish(
        "preparation_wild",
        out=out,
        figures={"cases": results},
        targets=[
            Target(
                name="ordinary heads lost",
                value=float(sum(_is_lost(r) for r in sound)),
                limit=0,
                at_least=False,
            ),
            Target(
                name="share of altered heads lost",
                value=float(np.mean([_is_lost(r) for r in upright if r["case"] != "plain"])),
                limit=0.01,
                at_least=False,
            ),
            Target(
                name="passed wrongly",
                value=float(sum(_is_wrong(r) for r in results)),
                limit=0,
                at_least=False,
            ),
            Target(
                name="lowest Dice of an ordinary head",
                value=min(r["dice"] for r in sound),
                limit=0.93,
                at_least=True,
            ),
        ],
    )


_HEADER = ("case", "heads", "n", "lost", "wrong", "error mm", "Dice", "s (median)", "s (max)")


def _row(kind: str, half: str, group: list[dict[str, Any]]) -> list[str]:
    seconds = [r["seconds"] for r in group]
    return [
        kind,
        half,
        str(len(group)),
        str(sum(_is_lost(r) for r in group)),
        str(sum(_is_wrong(r) for r in group)),
        f"{np.median([r['error_mm'] for r in group]):.1f}",
        f"{np.median([r['dice'] for r in group]):.3f}",
        f"{np.median(seconds):.1f}",
        f"{max(seconds):.1f}",
    ]


if __name__ == "__main__":
    main()
