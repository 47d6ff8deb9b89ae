"""A report under pseudonyms names nobody, whatever the ids are, and stays the same report."""

from __future__ import annotations

import dataclasses
import json
import re
import stat
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from mri_transfer.errors import ConfigurationError, RunFolderError
from mri_transfer.explain.feature_maps import FeatureMapsDocument
from mri_transfer.report import ReportInputs
from mri_transfer.report.blocks.document import Folded, Link, PatientPanels, Section, Text
from mri_transfer.report.blocks.report import Front, Report
from mri_transfer.report.pseudonyms.pseudonym_check import check_report, without_pages
from mri_transfer.report.pseudonyms.pseudonym_key import read_or_make_key
from mri_transfer.report.pseudonyms.pseudonym_names import Pseudonyms, is_word, make_pseudonyms
from mri_transfer.report.pseudonyms.pseudonyms import cohort_pseudonyms, pseudonymise
from mri_transfer.report.sections.failures import failures_section
from mri_transfer.report.sections.leakage import leakage_section
from mri_transfer.report.sections.patients import patients_section
from tests.report.documents import entry, make_provenance, replaced
from tests.report.whole_inputs import whole_inputs

KEY, OTHER_KEY = b"k" * 32, b"o" * 32
#: What someone may call patients; the first are sought in every text, the last are words.
TELLING = ("<script>alert(1)</script>", "../../x", "sub-01", "sub-010", "20481733", "M\u00fcller")
WORDS = ("AD", "1", "patient", "0.5")


def renamed(inputs: ReportInputs, names: dict[str, str]) -> ReportInputs:
    """Return the inputs with patients renamed in every table and document, as a run would."""

    def name(value: Any) -> Any:
        for old, new in names.items():
            if isinstance(value, str) and value.startswith(old):
                return value.replace(old, new)
        return value

    def walk(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: walk(one) for key, one in value.items()}
        return [walk(one) for one in value] if isinstance(value, list) else name(value)

    def table(frame: pd.DataFrame | None) -> Any:
        return None if frame is None else frame.map(name)

    assert inputs.explanation is not None
    assert inputs.feature_maps is not None
    scans = tuple(name(one) for one in inputs.explanation.scan_ids)
    neighbours = table(inputs.explanation.neighbours)
    frames = ("excluded", "patient_scores", "slice_scores", "quality", "folds", "scans")
    return replaced(
        inputs,
        evaluation=walk(inputs.evaluation.plain()),
        audit=walk(inputs.audit.plain()),
        patients=inputs.patients.rename(index=names),
        explanation=replaced(
            inputs.explanation,
            scan_ids=scans,
            neighbours=neighbours,
            document=walk(inputs.explanation.document),
        ),
        feature_maps=replaced(
            inputs.feature_maps,
            document=FeatureMapsDocument.model_validate(walk(inputs.feature_maps.document.plain())),
        ),
        **{one: table(getattr(inputs, one)) for one in frames},
    )


def planted() -> ReportInputs:
    """Return inputs with odd ids in tables, documents, messages, paths and settings."""
    odd = [*TELLING, *WORDS]
    inputs = whole_inputs()
    inputs = renamed(inputs, {f"OAS{i:04d}": name for i, name in enumerate(odd)})
    evaluation = json.loads(json.dumps(inputs.evaluation.plain()))
    evaluation["failures"] = [
        {**entry, "patient_id": name, "covariates": {"age": 93.0, "sex": "F", "site": "WashU"}}
        for entry, name in zip(evaluation["failures"], odd, strict=False)
    ]
    audit = json.loads(json.dumps(inputs.audit.plain()))
    audit["checks"][0]["found"] = [{"patient_id": name, "scan_id": f"{name}_s1"} for name in odd]
    reasons = [
        f"{name}: cannot be read. See /data/clinic/{name}/2019-03-12/T1.nii.gz" for name in odd
    ]
    excluded = pd.DataFrame({
        "scan_id": [f"{name}_s9" for name in odd], "patient_id": odd, "stage": "check",
        "reason": reasons,
    })  # fmt: skip
    patients = inputs.patients.assign(
        mrn=range(len(inputs.patients)), scan_date="2019-03-12", nickname=inputs.patients.index,
        handedness="right",
    )  # fmt: skip
    patients.loc["sub-01", "age"] = 97.0
    return replaced(
        inputs,
        evaluation=evaluation,
        audit=audit,
        excluded=excluded,
        patients=patients,
        config={**inputs.settings.every, "quality": {"keep": [f"{name}_s1" for name in odd]}},
        provenance=make_provenance(commands=("run --out /srv/ward/sub-010/run",)),
        artefacts={"folds.csv": "ab", "quality/scans/x-123.html": "cd", "a/sub-01.json": "ef"},
    )


def names_of(inputs: ReportInputs, key: bytes = KEY) -> Pseudonyms:
    return cohort_pseudonyms(inputs, key=key)


@pytest.fixture(scope="module")
def inputs() -> ReportInputs:
    return planted()


@pytest.fixture(scope="module")
def hidden(inputs: ReportInputs) -> ReportInputs:
    return pseudonymise(inputs, names_of(inputs))


def everything(inputs: ReportInputs) -> str:
    """Return all text of the inputs."""
    frames = (
        inputs.patients.reset_index(), inputs.excluded, inputs.patient_scores,
        inputs.slice_scores, inputs.quality, inputs.folds, inputs.scans,
    )  # fmt: skip
    tables = [frame.to_csv(index=False) for frame in frames if frame is not None]
    documents = (
        inputs.evaluation.plain(),
        inputs.audit.plain(),
        inputs.settings.every,
        dataclasses.asdict(inputs.provenance),
    )
    found = inputs.explanation
    assert found is not None
    assert inputs.feature_maps is not None
    plain = [one.document.plain() for one in (found, inputs.feature_maps)]
    more = [found.neighbours.to_csv(), *found.scan_ids, *map(json.dumps, plain)]
    texts = [json.dumps(one, ensure_ascii=False) for one in (*documents, inputs.artefacts)]
    return "\n".join([inputs.title, *tables, *texts, *more])


# --- names -------------------------------------------------------------------------------------


def test_the_planted_names_are_there_to_begin_with(inputs: ReportInputs) -> None:
    text = everything(inputs)
    for name in TELLING:
        assert name in text


def test_no_telling_name_is_left_anywhere(hidden: ReportInputs) -> None:
    text = everything(hidden)
    for name in TELLING:
        assert name not in text
    for word in ("/data", "clinic", "2019-03-12", "ward", "T1.nii.gz", "WashU", "OAS0"):
        assert word not in text


def test_where_an_id_stands_even_a_word_is_replaced(hidden: ReportInputs) -> None:
    frames = (hidden.excluded, hidden.patient_scores, hidden.slice_scores, hidden.quality,
              hidden.folds, hidden.scans, hidden.explanation.neighbours)  # type: ignore[union-attr]  # fmt: skip
    for frame in frames:
        assert frame is not None
        for column in ("patient_id", "scan_id", "neighbour_id"):
            if column in frame:
                assert frame[column].str.fullmatch(r"[PS]-[A-Z2-7]{8}").all()
    assert hidden.patients.index.str.fullmatch(r"P-[A-Z2-7]{8}").all()
    for one in hidden.evaluation.failures:
        assert re.fullmatch(r"P-[A-Z2-7]{8}", one.patient_id)
    assert hidden.audit.plain() is not None
    for found in hidden.audit.plain()["checks"][0]["found"]:
        assert all(re.fullmatch(r"[PS]-[A-Z2-7]{8}", name) for name in found.values())
    assert all(one.startswith("S-") for one in hidden.settings.every["quality"]["keep"])
    for name in WORDS:
        assert not hidden.excluded["reason"].str.contains(f"{name}: ", regex=False).any()


def test_words_that_are_also_ids_keep_their_meaning(
    inputs: ReportInputs, hidden: ReportInputs
) -> None:
    assert hidden.task.labels == ("CN", "AD")
    assert hidden.evaluation.plain()["patient"] == inputs.evaluation.plain()["patient"]
    assert set(hidden.patients["label"]) == {"CN", "AD"}


def test_the_report_is_the_same_under_other_names(
    inputs: ReportInputs, hidden: ReportInputs
) -> None:
    names = names_of(inputs)
    before, after = (
        {panel.patient_id: panel for block in patients_section(one).blocks
         if isinstance(block, PatientPanels) for panel in block.panels}
        for one in (inputs, hidden)
    )  # fmt: skip
    assert list(after) == sorted(after)  # the old order would tell the order of the names
    assert set(after) == {names.of(name) for name in before}
    for name, panel in before.items():
        other = after[names.of(name)]
        assert (other.score, other.called, other.quality) == (
            panel.score, panel.called, panel.quality
        )  # fmt: skip


def test_maps_and_slices_go_with_their_scan(inputs: ReportInputs, hidden: ReportInputs) -> None:
    names = names_of(inputs)
    old, new = inputs.explanation, hidden.explanation
    assert old is not None
    assert new is not None
    assert inputs.stack_of is not None
    assert hidden.stack_of is not None
    for i, scan in enumerate(old.scan_ids):
        place = new.scan_ids.index(names.of(scan, "S"))
        np.testing.assert_array_equal(new.maps[place], old.maps[i])
        np.testing.assert_array_equal(new.slice_weights[place], old.slice_weights[i])
        stack = hidden.stack_of(new.scan_ids[place])
        assert stack.scan_id == new.scan_ids[place]
        np.testing.assert_array_equal(stack.pixels, inputs.stack_of(scan).pixels)


def test_a_name_inside_another_is_not_cut_out_of_it(inputs: ReportInputs) -> None:
    names = names_of(inputs)
    text = names.in_prose("sub-010 and sub-01, sub-01_ses-02, xsub-01, sub-0100")
    a, b = names.of("sub-010"), names.of("sub-01")
    assert text == f"{a} and {b}, {b}_ses-02, xsub-01, sub-0100"


def test_a_number_is_no_part_of_a_decimal(inputs: ReportInputs) -> None:
    names = names_of(inputs)
    text = "p 0.20481733, 20481733.5, 20481733."
    assert names.in_prose(text) == f"p 0.20481733, 20481733.5, {names.of('20481733')}."


@pytest.mark.parametrize(
    ("name", "expected"),
    [("1", True), ("00731", True), ("0.5", True), ("AD", True), ("patient", True), ("P12", True),
     ("204817", False), ("Smith", False), ("sub-01", False), ("<b>x", False)],
)  # fmt: skip
def test_which_names_could_be_words(name: str, expected: bool) -> None:
    assert is_word(name) is expected


# --- the rest of what identifies ------------------------------------------------------------------


def test_sites_are_numbered_and_ages_above_89_are_one_group(
    inputs: ReportInputs, hidden: ReportInputs
) -> None:
    names = names_of(inputs)
    assert set(hidden.patients["site"]) == {"Site 1"}
    assert hidden.patients.loc[names.of("sub-01"), "age"] == 90
    assert {entry["covariates"]["age"] for entry in hidden.evaluation.plain()["failures"]} == {
        "90 or more"
    }
    (panel,) = [
        panel
        for fold in patients_section(hidden).blocks
        if isinstance(fold, Folded)
        for block in fold.blocks
        if isinstance(block, PatientPanels)
        for panel in block.panels
        if panel.patient_id == names.of("sub-01")
    ]
    assert panel.covariates["age"] == "90 or more"
    younger = inputs.patients["age"].dropna()
    kept = hidden.patients["age"].dropna()
    assert sorted(younger[younger < 90]) == sorted(kept[kept < 90])


def test_columns_that_may_identify_someone_are_left_out_and_named(hidden: ReportInputs) -> None:
    assert set(hidden.patients) == {"label", "age", "sex", "site", "nwbv", "handedness"}
    left_out = hidden.provenance.pseudonyms["covariates left out"]
    assert left_out == "mrn, nickname, scan_date"


def test_a_site_of_one_letter_is_found_where_sites_are_meant() -> None:
    made = make_pseudonyms(
        KEY, patients=["sub-01"], scans=[], sessions=[], paths=[], labels=["AD"],
        places={"site": ["A", "B"]},
    )  # fmt: skip
    numbers = {name: text.split()[1] for name, text in made.places["site"].items()}
    assert sorted(numbers.values()) == ["1", "2"]
    text = "All come from one site (A): A look at site B."
    assert made.in_prose(text) == (
        f"All come from one site ({numbers['A']}): A look at site {numbers['B']}."
    )


def test_levels_of_a_site_are_numbered_in_records_about_sites(inputs: ReportInputs) -> None:
    evaluation, audit = inputs.evaluation.plain(), inputs.audit.plain()
    rows = evaluation["subgroups"]["rows"]
    rows[0] |= {"group": "site", "level": "WashU"}
    probe = audit["shortcuts"]["covariates"][1]
    assert probe["covariate"] == "site"
    probe["score"] = {"AD": {"mean_score": {"WashU": entry(0.5)}, "p": None}}
    changed = replaced(inputs, evaluation=evaluation, audit=audit)
    found = pseudonymise(changed, names_of(changed))
    assert [row.level for row in found.evaluation.subgroups.rows] == ["Site 1", rows[1]["level"]]
    assert found.audit is not None
    (score,) = found.audit.shortcuts.covariates[1].score.values()
    assert list(score.mean_score) == ["Site 1"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("made 2019-03-12T10:11:12Z.", "made (date removed)."),
        ("visit 20190312", "visit (date removed)"),
        ("dcm2niix 1.0.20250505", "dcm2niix 1.0.20250505"),
        ("read /data/a b/x.nii", "read /data/a b/x.nii"),
        ("read /data/a/x.nii: no", "read (path removed): no"),
        (r"C:\scans\x.nii", "(path removed)"),
        ("mri-transfer/evaluation/2, 1/2, and/or", "mri-transfer/evaluation/2, 1/2, and/or"),
        ("https://doi.org/10.1/2", "https://doi.org/10.1/2"),
    ],
)
def test_dates_and_paths_are_cut_out_of_texts(text: str, expected: str) -> None:
    made = make_pseudonyms(
        KEY, patients=[], scans=[], sessions=[], paths=["/data/my scans/x.nii"], labels=[],
        places={},
    )  # fmt: skip
    if expected == text and " b/" in text:
        # Where a path with a blank ends nobody can tell, unless it is one of the manifest.
        assert made.in_prose("see /data/my scans/x.nii.") == "see (path removed)."
    else:
        assert made.in_prose(text) == expected


def test_digests_of_files_that_are_called_after_scans_are_left_out(hidden: ReportInputs) -> None:
    assert dict(hidden.artefacts) == {"folds.csv": "ab"}


# --- keys ----------------------------------------------------------------------------------------


def test_the_same_key_gives_the_same_names_and_another_key_others(inputs: ReportInputs) -> None:
    first, again, other = names_of(inputs), names_of(inputs), names_of(inputs, OTHER_KEY)
    assert first.names == again.names
    assert not set(first.names.values()) & set(other.names.values())
    fewer = make_pseudonyms(KEY, patients=["sub-01"], scans=[], sessions=[], paths=[], places={},
                            labels=[])  # fmt: skip
    assert fewer.of("sub-01") == first.of("sub-01")  # whoever else is in the cohort


def test_a_pseudonym_is_the_keyed_hash() -> None:
    import base64
    import hashlib
    import hmac

    made = make_pseudonyms(KEY, patients=["sub-01"], scans=[], sessions=[], paths=[], places={},
                           labels=[])  # fmt: skip
    hashed = hmac.new(KEY, b"mri-transfer/pseudonym/1\0sub-01", hashlib.sha256).digest()
    assert made.of("sub-01") == f"P-{base64.b32encode(hashed).decode()[:8]}"
    assert KEY.decode() not in repr(made)


def test_a_pseudonym_that_is_someone_s_name_is_refused() -> None:
    taken = make_pseudonyms(KEY, patients=["sub-01"], scans=[], sessions=[], paths=[], places={},
                            labels=[]).of("sub-01")  # fmt: skip
    with pytest.raises(RunFolderError, match="another key"):
        make_pseudonyms(KEY, patients=["sub-01", taken], scans=[], sessions=[], paths=[],
                        places={}, labels=[])  # fmt: skip


def test_a_key_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    file = tmp_path / "safe" / "key"
    key = read_or_make_key(file, apart_from=tmp_path / "run")
    assert len(key) == 32
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert read_or_make_key(file, apart_from=tmp_path / "run") == key
    assert read_or_make_key(tmp_path / "other", apart_from=tmp_path / "run") != key


def test_a_short_key_and_one_inside_the_run_are_refused(tmp_path: Path) -> None:
    short = tmp_path / "short"
    short.write_bytes(b"x" * 15)
    with pytest.raises(ConfigurationError, match="too short"):
        read_or_make_key(short, apart_from=tmp_path / "run")
    inside = tmp_path / "run" / "report_pseudonymised" / "key"
    with pytest.raises(ConfigurationError, match="inside the run"):
        read_or_make_key(inside, apart_from=tmp_path / "run")
    assert not inside.exists()
    with pytest.raises(ConfigurationError, match="not a file"):
        read_or_make_key(tmp_path, apart_from=tmp_path / "run")


# --- what is handed on ---------------------------------------------------------------------------


def report_of(*sections: Section) -> Report:
    front = Front(answer="", comparison="", studied="", on_whom="", key_figures=(),
                  top_caveats=(), other_caveats=(), banners=())  # fmt: skip
    return Report(title="", confidence=0.95, front=front, sections=sections, made_by="")


def test_sections_under_pseudonyms_pass_the_check_and_link_to_no_page(
    inputs: ReportInputs, hidden: ReportInputs
) -> None:
    sections = (patients_section, failures_section, leakage_section)
    report = without_pages(report_of(*(make(hidden) for make in sections)))
    check_report(report, names_of(inputs))
    text = json.dumps(report.plain(), ensure_ascii=False)
    for name in TELLING:
        assert name not in text
    assert '"target": "..' not in text
    assert "quality/scans" not in text


def test_a_name_that_is_left_is_found_also_inside_markup(inputs: ReportInputs) -> None:
    for left in ("see sub-01.", "see &lt;script&gt;alert(1)&lt;/script&gt;"):
        section = Section(id="x", title="", short="", blocks=(Text(text=left),))
        with pytest.raises(RunFolderError, match="section x"):
            check_report(report_of(section), names_of(inputs))
    fine = Section(id="x", title="", short="", blocks=(Text(text="1 patient of AD"),))
    check_report(report_of(fine), names_of(inputs))


def test_only_links_within_the_page_stay() -> None:
    links = (Link(text="a", target="#leakage"), Link(text="b", target="../quality/index.html"))
    section = Section(id="x", title="", short="", blocks=(Text(text="t", links=links),))
    (found,) = without_pages(report_of(section)).sections
    assert found.blocks == (Text(text="t", links=links[:1]),)
