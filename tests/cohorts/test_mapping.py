"""Mappings of columns: what a study's table says, in the words of a manifest."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mri_transfer.cohorts.manifest.text_table import TextTable
from mri_transfer.cohorts.mapping.label_rule import Condition, LabelCase, LabelRule, same_cell
from mri_transfer.cohorts.mapping.mapping import ColumnMapping, read_mapping, shipped_mappings
from mri_transfer.cohorts.mapping.mapping_table import map_table
from mri_transfer.cohorts.readers.csv import read_csv_cohort
from mri_transfer.cohorts.readers.reading import CohortReading
from mri_transfer.errors import ConfigurationError, ManifestError

STUDIES = ("adni", "adni_search", "aibl", "nacc", "oasis1", "oasis3")


def _mapping(folder: Path, text: str) -> Path:
    path = folder / "mapping.toml"
    path.write_text(text, encoding="utf-8")
    return path


def _table(folder: Path, columns: str, *rows: str) -> Path:
    path = folder / "table.csv"
    path.write_text("\n".join([columns, *rows, ""]), encoding="utf-8")
    return path


def _scan(folder: Path, name: str) -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(name.encode() * 20)


def _read(folder: Path, mapping: str, columns: str, *rows: str) -> CohortReading:
    return read_csv_cohort(_table(folder, columns, *rows), mapping=_mapping(folder, mapping))


def _columns(reading: CohortReading, *names: str) -> list[list[object]]:
    frame = reading.manifest.scans[list(names)].astype(object)
    return frame.where(frame.notna(), None).to_numpy().tolist()


class TestCondition:
    @pytest.mark.parametrize(
        ("condition", "fits", "misfits"),
        [
            ({"values": "CN"}, ["CN"], ["cn", "CNS", None]),
            ({"values": [0, "x"]}, ["0", "0.0", "-0", "x"], ["1", "", "zero"]),
            ({"above": 0}, ["0.5", "1e-9", "3"], ["0", "-1", "n", None]),
            ({"at_least": 0.5, "below": 2}, ["0.5", "1.99"], ["0.49", "2"]),
            ({"at_most": 2}, ["2", "-7"], ["2.0001"]),
            ({"matches": "AD .*|DAT"}, ["AD x", "DAT"], ["xAD x", "DAT2", None]),
            ({"values": [1, 2], "above": 1}, ["2"], ["1", "3"]),
        ],
    )
    def test_a_cell_meets_it_or_does_not(
        self, condition: dict[str, object], fits: list[str], misfits: list[str | None]
    ) -> None:
        made = Condition(**condition)  # type: ignore[arg-type]
        assert [made.holds(cell) for cell in fits] == [True] * len(fits)
        assert [made.holds(cell) for cell in misfits] == [False] * len(misfits)

    @given(number=st.floats(-1e6, 1e6), limit=st.floats(-1e6, 1e6))
    def test_above_and_at_most_share_all_numbers_out(self, number: float, limit: float) -> None:
        cell = repr(number)
        assert Condition(above=limit).holds(cell) != Condition(at_most=limit).holds(cell)
        assert Condition(below=limit).holds(cell) != Condition(at_least=limit).holds(cell)

    def test_text_is_never_the_same_as_a_number(self) -> None:
        assert same_cell("1", "1.0")
        assert not same_cell("1", "one")
        assert not same_cell("nan", "NaN")


class TestLabelRule:
    @pytest.fixture
    def rule(self) -> LabelRule:
        return LabelRule(
            cases=(
                LabelCase(
                    label="AD", when={"S": Condition(values=("4",)), "A": Condition(above=0)}
                ),
                LabelCase(label="", when={"S": Condition(values=("4",))}),
                LabelCase(label="CN", when={"S": Condition(values=("1",))}),
            )
        )

    def test_the_first_case_that_fits_decides(self, rule: LabelRule) -> None:
        assert rule.decide({"S": "4", "A": "1"}).label == "AD"
        assert rule.decide({"S": "4", "A": "0"}).label is None
        assert rule.decide({"S": "1", "A": "8"}).label == "CN"

    def test_a_missing_cell_is_no_label_and_never_healthy(self, rule: LabelRule) -> None:
        assert rule.decide({"S": None, "A": "1"}).by == "missing"
        assert rule.decide({"A": "0"}).label is None
        # What is known suffices here.
        assert rule.decide({"S": "1", "A": None}).label == "CN"

    def test_a_value_that_no_case_names_is_told_apart(self, rule: LabelRule) -> None:
        assert rule.decide({"S": "3", "A": "0"}).by == "nothing"
        other = LabelRule(cases=rule.cases, other="MCI")
        assert (other.decide({"S": "3", "A": "0"}).label, other.decide({}).label) == ("MCI", None)

    def test_the_columns_are_those_asked_about(self, rule: LabelRule) -> None:
        assert rule.columns == ("S", "A")


class TestSections:
    def test_codes_become_values_and_missing_ones_missing(self, tmp_path: Path) -> None:
        for name in "abc":
            _scan(tmp_path, f"{name}.nii")
        reading = _read(
            tmp_path,
            """
            [missing]
            "*" = -4
            score = [88, "99"]
            [values.SEX]
            1 = "M"
            2 = "F"
            9 = ""
            [columns]
            ID = "patient_id"
            SEX = "sex"
            """,
            "ID,path,SEX,score,other",
            "a,a.nii,1,88.0,-4",
            "b,b.nii,2.0,7,88",
            "c,c.nii,9,99,5",
        )
        assert _columns(reading, "patient_id", "sex", "score", "other") == [
            ["a", "M", None, None],
            ["b", "F", 7.0, 88.0],
            ["c", None, None, 5.0],
        ]

    def test_labels_come_from_values_and_limits(self, tmp_path: Path) -> None:
        for name in "abcd":
            _scan(tmp_path, f"{name}.nii")
        reading = _read(
            tmp_path,
            """
            [labels]
            cases = [
                { label = "AD", when = { CDR = { above = 0 } } },
                { label = "CN", when = { CDR = 0 } },
            ]
            """,
            "patient_id,path,CDR,label",
            "a,a.nii,0.0,old",
            "b,b.nii,0.5,old",
            "c,c.nii,,old",
            "d,d.nii,2,old",
        )
        assert _columns(reading, "label") == [["CN"], ["AD"], [None], ["AD"]]
        assert any("own column label is left out" in note for note in reading.notes)
        assert any("decided by CDR" in note for note in reading.notes)

    def test_values_without_a_label_are_listed_with_all_other_faults(self, tmp_path: Path) -> None:
        _scan(tmp_path, "a.nii")
        with pytest.raises(ManifestError) as caught:
            _read(
                tmp_path,
                '[labels]\ncases = [{ label = "CN", when = { DX = "CN" } }]',
                "patient_id,path,DX,age",
                "a,a.nii,EMCI,200",
                "b,none.nii,CN,70",
                "c,a.nii,EMCI,70",
                "d,a.nii,LMCI,70",
            )
        text = str(caught.value)
        assert "row 2, column DX: no label of the mapping covers this value" in text
        assert "'EMCI' in 2 rows" in text
        assert "'LMCI' in 1 row" in text
        assert "age is out of range" in text
        assert "the file is missing" in text

    def test_other_values_can_be_given_no_label(self, tmp_path: Path) -> None:
        _scan(tmp_path, "a.nii")
        reading = _read(
            tmp_path,
            '[labels]\nother = ""\ncases = [{ label = "CN", when = { DX = "CN" } }]',
            "patient_id,path,DX",
            "a,a.nii,EMCI",
        )
        assert _columns(reading, "label") == [[None]]
        assert any("1 row with values" in note and "EMCI (1)" in note for note in reading.notes)

    def test_ids_are_taken_apart_and_put_together(self, tmp_path: Path) -> None:
        _scan(tmp_path, "sub-7/ses-M006/T1.nii.gz")
        reading = _read(
            tmp_path,
            r"""
            [split]
            visit = '(?P<number>\d+)_m(?P<month>\d+)'
            [compose]
            patient_id = "sub-{number}"
            session_id = "ses-M{month:0>3}"
            path = "{patient_id}/{session_id}/T1.nii.gz"
            """,
            "visit,DX",
            "7_m6,x",
        )
        assert _columns(reading, "patient_id", "session_id", "month", "DX") == [
            ["sub-7", "ses-M006", 6.0, "x"]
        ]
        with pytest.raises(ManifestError, match="row 2, column visit: the cell does not match"):
            _read(tmp_path, "[split]\nvisit = '(?P<n>x)'", "patient_id,visit,path", "a,y,b")

    def test_a_column_of_the_table_comes_before_a_template(self, tmp_path: Path) -> None:
        _scan(tmp_path, "own.nii")
        text = '[compose]\npath = "{patient_id}.nii"'
        reading = _read(tmp_path, text, "patient_id,path", "a,own.nii")
        assert reading.manifest.scans["path"].tolist() == [str(tmp_path / "own.nii")]
        renamed = read_csv_cohort(
            _table(tmp_path, "patient_id,File", "a,own.nii"),
            mapping=_mapping(tmp_path, text),
            columns={"File": "path"},
        )
        assert renamed.manifest.scans["path"].tolist() == [str(tmp_path / "own.nii")]

    def test_numbers_are_added_up(self, tmp_path: Path) -> None:
        _scan(tmp_path, "a.nii")
        text = '[add]\nage = ["AGE", "Years_bl"]'
        columns = "patient_id,session_id,path,AGE,Years_bl"
        reading = _read(tmp_path, text, columns, "a,1,a.nii,70.5,1.25", "a,2,a.nii,70,")
        assert _columns(reading, "age") == [[71.75], [None]]
        with pytest.raises(ManifestError, match="column AGE: a column to sum is not a number"):
            _read(tmp_path, text, columns, "a,1,a.nii,89+,1")

    def test_columns_that_are_not_named_can_be_left_out(self, tmp_path: Path) -> None:
        _scan(tmp_path, "a.nii")
        reading = _read(
            tmp_path,
            'other_columns = "leave out"\n[columns]\nV = "nwbv"',
            "patient_id,path,site,V,x,y",
            "a,a.nii,A,0.7,1,2",
        )
        assert reading.manifest.covariates == ("age", "sex", "site", "scanner", "nwbv")
        assert reading.notes[0] == "Columns that the mapping does not use are left out: x, y."

    def test_optional_columns_may_be_absent_and_do_no_harm(self, tmp_path: Path) -> None:
        _scan(tmp_path, "a.nii")
        text = (
            'optional = ["SEX", "A", "B"]\n[columns]\nSEX = "sex"\n[values.SEX]\n1 = "M"\n'
            '[add]\nage = ["A", "B"]\n[missing]\nB = 9'
        )
        reading = _read(tmp_path, text, "patient_id,path,sex,age", "a,a.nii,F,70")
        # The table's own column of that name stays.
        assert _columns(reading, "sex", "age") == [["F", 70.0]]

    def test_columns_that_are_missing_are_all_named(self, tmp_path: Path) -> None:
        with pytest.raises(ManifestError) as caught:
            _read(
                tmp_path,
                '[columns]\nA = "age"\n[values.B]\n1 = "x"\n[missing]\nC = 1\n'
                '[labels]\ncases = [{ label = "x", when = { D = 1 } }]\n'
                '[split]\nE = \'(?P<f>.)\'\n[add]\ng = ["G"]\n[compose]\npath = "{H}{f}{age}"\n'
                '[visits]\nkeep = "first"\norder = "I"',
                "patient_id",
                "a",
            )
        assert [fault.column for fault in caught.value.faults] == list("ABECGDHI")

    def test_what_the_caller_says_of_columns_has_precedence(self, tmp_path: Path) -> None:
        _scan(tmp_path, "a.nii")
        text = '[columns]\nID = "patient_id"\n[labels]\ncases = [{ label = "x", when = { D = 1 } }]'
        reading = read_csv_cohort(
            _table(tmp_path, "ID,Subject,path,mine", "1,s1,a.nii,AD"),
            mapping=_mapping(tmp_path, text),
            columns={"Subject": "patient_id", "mine": "label"},
        )
        assert _columns(reading, "patient_id", "label", "ID") == [["s1", "AD", 1.0]]


class TestRows:
    def test_rows_without_an_image_are_a_fault_unless_they_are_to_be_left_out(
        self, tmp_path: Path
    ) -> None:
        _scan(tmp_path, "a.nii")
        table = ("patient_id,session_id,path", "a,1,a.nii", "a,2,gone.nii", "b,1,")
        with pytest.raises(ManifestError, match="the file is missing"):
            _read(tmp_path, "", *table)
        reading = _read(tmp_path, 'without_image = "leave out"', *table)
        assert reading.manifest.scans["scan_id"].tolist() == ["a_1"]
        assert "2 rows without an image left out: a 2, b 1." in reading.notes

    def test_a_path_out_of_the_folder_stays_a_fault(self, tmp_path: Path) -> None:
        root = tmp_path / "root"
        root.mkdir()
        _scan(tmp_path, "a.nii")
        with pytest.raises(ManifestError, match="leaves the cohort's folder"):
            _read(root, 'without_image = "leave out"', "patient_id,path", "a,../a.nii")

    def test_a_row_with_a_fault_is_reported_and_not_left_out(self, tmp_path: Path) -> None:
        _scan(tmp_path, "7.nii")
        with pytest.raises(ManifestError, match="row 3, column ID: the cell does not match"):
            _read(
                tmp_path,
                "without_image = \"leave out\"\n[split]\nID = 'P(?P<patient_id>.+)'\n"
                '[compose]\npath = "{patient_id}.nii"',
                "ID",
                "P7",
                "Q8",
            )

    def test_no_image_at_all_says_where_it_was_looked_for(self, tmp_path: Path) -> None:
        with pytest.raises(ManifestError, match=r"no row of the table has an image.*x\.nii"):
            _read(tmp_path, 'without_image = "leave out"', "patient_id,path", "a,x.nii")

    @pytest.mark.parametrize(
        ("keep", "order", "kept"),
        [("first", "9 10 8", "3"), ("last", "9 10 8", "2"), ("first", "b10 b9 c", "1")],
    )
    def test_one_visit_is_kept_by_number_or_by_text(
        self, tmp_path: Path, keep: str, order: str, kept: str
    ) -> None:
        places = order.split()
        for at in "123":
            _scan(tmp_path, f"{at}.nii")
        rows = [f"p,{at},{at}.nii,CN,{places[int(at) - 1]}" for at in "123"]
        reading = _read(
            tmp_path,
            f'visits = {{ keep = "{keep}", order = "t" }}',
            "patient_id,session_id,path,label,t",
            *rows,
        )
        assert reading.manifest.scans["session_id"].tolist() == [kept]
        assert any("2 other visits left out" in note for note in reading.notes)

    def test_a_visit_with_a_label_comes_before_an_earlier_one_without(self, tmp_path: Path) -> None:
        for at in "123":
            _scan(tmp_path, f"{at}.nii")
        reading = _read(
            tmp_path,
            'visits = { keep = "first", order = "t" }',
            "patient_id,session_id,path,label,t",
            "p,1,1.nii,,0",
            "p,2,2.nii,AD,",
            "q,3,3.nii,,",
        )
        assert reading.manifest.scans["session_id"].tolist() == ["2", "3"]


class TestReading:
    def test_every_fault_of_a_mapping_is_named_at_once(self, tmp_path: Path) -> None:
        path = _mapping(
            tmp_path,
            """
            colunms = { A = "age" }
            other_columns = "drop"
            [labels]
            cases = [{ label = "x", when = { D = { abov = 0 } } }, { label = "y", when = {} }]
            [visits]
            keep = "newest"
            """,
        )
        with pytest.raises(ConfigurationError) as caught:
            read_mapping(path)
        text = str(caught.value)
        assert text.startswith(f"{path}: 6 faults in the mapping")
        for part in (
            "colunms: no such setting",
            "other_columns: Input should be 'keep' or 'leave out' (found 'drop')",
            "abov: no such setting",
            "labels.cases.1.when",
            "visits.keep",
            "visits.order",
        ):
            assert part in text

    @pytest.mark.parametrize(
        ("text", "says"),
        [
            ("[split]\nA = '(?P<x>'", "is not a regular expression"),
            ("[split]\nA = 'x'", "has no named group"),
            ('[compose]\npath = "{A"', "is not a template"),
            ('[compose]\npath = "{}"', "without a column name"),
            ('[compose]\npath = "{A:d}"', "is not a template"),
            (
                '[columns]\nA = "label"\n[labels]\ncases = [{ label = "x", when = { D = 1 } }]',
                "both labels and another section",
            ),
            (
                '[labels]\ncases = [{ label = "x", when = { D = { matches = "(" } } }]',
                "is not a regular expression",
            ),
            ("[labels]\ncases = [{ label = 'x', when = { D = {} } }]", "give values, a pattern"),
            ("[columns\n", "not TOML"),
            ("[columns]\nA = 3", "columns.A"),
        ],
    )
    def test_what_cannot_be_meant_is_refused(self, tmp_path: Path, text: str, says: str) -> None:
        with pytest.raises(ConfigurationError) as caught:
            read_mapping(_mapping(tmp_path, text))
        assert says in str(caught.value)

    def test_a_name_that_is_not_shipped_is_refused_with_those_that_are(self) -> None:
        with pytest.raises(
            ConfigurationError, match="adni, adni_search, aibl, nacc, oasis1, oasis3"
        ):
            read_mapping("adnii")
        with pytest.raises(ConfigurationError, match="cannot read the mapping"):
            read_mapping(Path("none") / "there.toml")

    def test_a_mapping_is_its_own_mapping(self) -> None:
        made = ColumnMapping(columns={"A": "age"})
        assert read_mapping(made) is made

    def test_an_empty_mapping_changes_nothing(self) -> None:
        table = TextTable.from_records(["b", "a"], [{"a": "1", "b": None}], [2])
        mapped, notes = map_table(table, ColumnMapping(), where="t")
        assert (mapped, notes) == (table, ())


def _shipped(
    folder: Path, study: str, columns: str, rows: Sequence[str], scans: Sequence[str]
) -> CohortReading:
    for name in scans:
        _scan(folder, name)
    return read_csv_cohort(_table(folder, columns, *rows), mapping=study)


class TestShipped:
    """Every shipped mapping on a small table with the study's own names of columns."""

    def test_all_of_them_are_tested_here_and_described(self) -> None:
        assert shipped_mappings() == STUDIES
        text = (Path(__file__).parents[2] / "data_manifests" / "README.md").read_text("utf-8")
        for study in STUDIES:
            mapping = read_mapping(study)
            assert mapping.title
            missing = [name for name in mapping.demanded if f"`{name}`" not in text]
            missing += [name for name in mapping.optional if f"`{name}`" not in text]
            assert missing == [], f"{study}: not in the data dictionary"

    def test_oasis1(self, tmp_path: Path) -> None:
        reading = _shipped(
            tmp_path,
            "oasis1",
            "ID,M/F,Hand,Age,Educ,SES,MMSE,CDR,eTIV,nWBV,ASF,Delay,path",
            [
                "OAS1_0001_MR1,F,R,74,2.0,3.0,29.0,0.0,1344,0.743,1.306,,a.nii",
                "OAS1_0003_MR1,F,R,73,4.0,3.0,27.0,0.5,1454,0.708,1.207,,b.nii",
                "OAS1_0061_MR1,F,R,20,,,,,1749,0.840,1.441,,c.nii",
                "OAS1_0061_MR2,F,R,20,,,,,1757,0.845,0.999,1.0,d.nii",
            ],
            ["a.nii", "b.nii", "c.nii", "d.nii"],
        )
        assert _columns(reading, "patient_id", "session_id", "label", "sex", "age", "cdr") == [
            ["OAS1_0001", "MR1", "CN", "F", 74.0, 0.0],
            ["OAS1_0003", "MR1", "AD", "F", 73.0, 0.5],
            ["OAS1_0061", "MR1", None, "F", 20.0, None],
            ["OAS1_0061", "MR2", None, "F", 20.0, None],
        ]
        assert _columns(reading, "etiv_cm3", "delay_days")[3] == [1757.0, 1.0]

    def test_oasis3(self, tmp_path: Path) -> None:
        rows = [
            "OAS30001,OAS30001_UDSb4_d0000,0,65.2,30,0,0,Cognitively normal,a.nii",
            "OAS30001,OAS30001_UDSb4_d0339,339,66.1,20,6,1,AD Dementia,b.nii",
            "OAS30002,OAS30002_UDSb4_d0010,10,72.5,,6,1,DAT w/depresss not contribut,c.nii",
            "OAS30003,OAS30003_UDSb4_d0010,10,80,,6,1,AD dem cannot be primary,d.nii",
            "OAS30004,OAS30004_UDSb4_d0010,10,80,,.5,0.5,uncertain dementia,e.nii",
            "OAS30005,OAS30005_UDSb4_d0010,10,80,,.5,0.5,Cognitively normal,f.nii",
            "OAS30006,OAS30006_UDSb4_d0010,10,80,,0,0,.,g.nii",
            "OAS30007,OAS30007_UDSb4_d0010,10,80,,1,0.5,AD dem w/CVD contribut,h.nii",
            "OAS30008,OAS30008_UDSb4_d0010,10,80,,1,0.5,AD Dementia,",
        ]
        reading = _shipped(
            tmp_path,
            "oasis3",
            "OASISID,OASIS_session_label,days_to_visit,age at visit,MMSE,CDRSUM,CDRTOT,dx1,path",
            rows,
            [f"{name}.nii" for name in "abcdefgh"],
        )
        assert _columns(reading, "session_id", "label", "age", "cdr")[:2] == [
            ["d0000", "CN", 65.2, 0.0],
            ["d0010", "AD", 72.5, 1.0],
        ]
        labels = [label for (label,) in _columns(reading, "label")]
        assert labels == ["CN", "AD", None, None, None, None, "AD"]
        assert any("OAS30008 d0010" in note for note in reading.notes)

    def test_adni(self, tmp_path: Path) -> None:
        rows = [
            "2,002_S_0295,bl,2,ADNI1,CN,84.8,Male,18,1,0,28,CN,0.0,x",
            "2,002_S_0295,m06,2,ADNI1,CN,84.8,Male,18,1,0,28,CN,0.498,x",
            "3,011_S_0003,bl,11,ADNI1,AD,81.3,Female,18,1,4.5,20,Dementia,0,x",
            "4,011_S_10004,m12,11,ADNI1,LMCI,70,Male,-4,0,1,-1,MCI to Dementia,1.25,x",
            "5,022_S_0005,bl,22,ADNI1,LMCI,70,Male,12,0,1,27,,0,x",
            "6,022_S_0006,bl,22,ADNI1,LMCI,70,Male,12,0,1,27,MCI,0,x",
        ]
        scans = [
            f"{patient}/{session}/anat/{patient}_{session}_T1w.nii.gz"
            for patient, session in (
                ("sub-ADNI002S0295", "ses-M000"),
                ("sub-ADNI002S0295", "ses-M006"),
                ("sub-ADNI011S0003", "ses-M000"),
                ("sub-ADNI011S10004", "ses-M012"),
                ("sub-ADNI022S0005", "ses-M000"),
            )
        ]
        reading = _shipped(
            tmp_path,
            "adni",
            "RID,PTID,VISCODE,SITE,COLPROT,DX_bl,AGE,PTGENDER,PTEDUCAT,APOE4,CDRSB,MMSE,DX,"
            "Years_bl,update_stamp",
            rows,
            scans,
        )
        names = ("patient_id", "session_id", "label", "sex", "age", "site", "education", "mmse")
        assert _columns(reading, *names) == [
            ["sub-ADNI002S0295", "ses-M000", "CN", "M", 84.8, "2", 18.0, 28.0],
            ["sub-ADNI011S0003", "ses-M000", "AD", "F", 81.3, "11", 18.0, 20.0],
            ["sub-ADNI011S10004", "ses-M012", "AD", "M", 71.25, "11", None, None],
            ["sub-ADNI022S0005", "ses-M000", None, "M", 70.0, "22", 12.0, 27.0],
        ]
        assert any("sub-ADNI022S0006 ses-M000" in note for note in reading.notes)

    def test_aibl(self, tmp_path: Path) -> None:
        scans = [
            f"sub-AIBL{rid}/ses-{month}/anat/sub-AIBL{rid}_ses-{month}_T1w.nii.gz"
            for rid, month in ((2, "M000"), (3, "M018"), (4, "M000"))
        ]
        reading = _shipped(
            tmp_path,
            "aibl",
            "RID,SITEID,VISCODE,DXCURREN,PTGENDER,MMSCORE",
            ["2,1,bl,1,2,30", "2,1,m18,2,2,30", "3,2,m18,3,1,-4", "4,2,bl,-4,1,20"],
            scans,
        )
        assert _columns(reading, "patient_id", "session_id", "label", "sex", "mmse") == [
            ["sub-AIBL2", "ses-M000", "CN", "F", 30.0],
            ["sub-AIBL3", "ses-M018", "AD", "M", None],
            ["sub-AIBL4", "ses-M000", None, "M", 20.0],
        ]

    def test_nacc(self, tmp_path: Path) -> None:
        reading = _shipped(
            tmp_path,
            "nacc",
            "NACCID,NACCADC,NACCVNUM,NACCAGE,SEX,EDUC,NACCUDSD,NACCALZD,NACCMMSE,CDRGLOB,path",
            [
                "NACC000001,1000,1,70,1,16,1,8,29,0,a.nii",
                "NACC000002,1000,2,71,2,99,4,1,88,1,b.nii",
                "NACC000003,1000,1,72,2,12,4,0,-4,2,c.nii",
                "NACC000004,1001,1,73,1,12,3,1,25,0.5,d.nii",
                "NACC000005,1001,1,74,1,12,2,0,25,0.5,e.nii",
            ],
            [f"{name}.nii" for name in "abcde"],
        )
        assert _columns(reading, "session_id", "label", "sex", "education", "mmse") == [
            ["visit-1", "CN", "M", 16.0, 29.0],
            ["visit-2", "AD", "F", None, None],
            ["visit-1", None, "F", 12.0, None],
            ["visit-1", "MCI", "M", 12.0, 25.0],
            ["visit-1", None, "M", 12.0, 25.0],
        ]

    def test_a_diagnosis_nobody_documented_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(ManifestError, match="'7' in 1 row"):
            _shipped(tmp_path, "aibl", "RID,VISCODE,DXCURREN,path", ["2,bl,7,a.nii"], ["a.nii"])
