"""The identity probe, against its definition and on features with a known identity."""

from __future__ import annotations

import numpy as np
import pytest

from mri_transfer.evaluation.audit.identity import IdentitySpec, identity_probe
from mri_transfer.models.features import FeatureTable
from tests.synthetic import feature_table

GAPS = (1.0, 3.0)


def _probe(table, labels, **settings):
    names = dict(zip(table.patient_ids, ("AD" if one else "CN" for one in labels), strict=True))
    spec = IdentitySpec(**{"gaps_mm": GAPS, **settings})
    return identity_probe(table, names, spec=spec, bootstrap_samples=200, seed=0)


def _oracle(table: FeatureTable, labels: np.ndarray, gap: float, *, other_scans: bool = False):
    """Rank patients by their nearest slice, one comparison after another."""
    flat = table.features.reshape(-1, table.features.shape[2]).astype(np.float64)
    scaled = (table.features - flat.mean(axis=0)) / flat.std(axis=0)
    label_of = dict(zip(table.patient_ids, labels, strict=True))
    top1, top5, recall = {}, {}, {}
    for scan, owner in enumerate(table.patient_ids):
        for own_slice, z_mm in enumerate(table.z_mm[scan]):
            least = {name: np.inf for name in label_of}
            for other, name in enumerate(table.patient_ids):
                for s, height in enumerate(table.z_mm[other]):
                    if other_scans and other == scan:
                        continue
                    if abs(height - z_mm) < gap:
                        continue
                    apart = np.linalg.norm(scaled[scan, own_slice] - scaled[other, s])
                    least[name] = min(least[name], apart)
            if np.isinf(least[owner]):
                continue
            rank = sum(value < least[owner] for value in least.values())
            top1.setdefault(owner, []).append(rank < 1)
            top5.setdefault(owner, []).append(rank < 5)
            nearest = min(least, key=lambda name: least[name])
            recall.setdefault(owner, []).append(label_of[nearest] == label_of[owner])
    return [np.mean([np.mean(hits) for hits in one.values()]) for one in (top1, top5, recall)]


def test_rates_are_those_of_the_definition() -> None:
    table, labels = feature_table(n_patients=9, n_slices=5, identity=0.4, two_sessions=3)
    probe = _probe(table, labels)
    for entry in probe.by_gap:
        expected = _oracle(table, labels, entry.gap_mm)
        assert [
            getattr(entry, name).value for name in ("top1", "top5", "label_recall")
        ] == pytest.approx(expected)
        assert 0.05 < expected[0] < 0.95


def test_sessions_are_recognised_from_other_scans_only() -> None:
    table, labels = feature_table(n_patients=9, n_slices=5, identity=0.4, two_sessions=3)
    found = _probe(table, labels).between_sessions
    assert found.n_patients == 3
    expected = _oracle(table, labels, 0.0, other_scans=True)
    # Of patients with one scan nothing is left to compare with.
    assert [found.top1.value, found.top5.value] == pytest.approx(expected[:2])
    assert _probe(*feature_table(n_patients=9)).between_sessions is None


def test_slices_with_a_patient_of_their_own_are_recognised_and_others_are_not() -> None:
    betraying = _probe(*feature_table(identity=3.0, signal=0.0))
    assert betraying.by_gap[-1].top1.value > 0.95
    assert betraying.by_gap[-1].label_recall.value > 0.95
    blank = _probe(*feature_table(identity=0.0, signal=0.0))
    assert blank.chance_top1 == 1 / 40
    assert blank.by_gap[0].top1.value < 0.1
    assert blank.by_gap[0].top5.value < 0.3
    for probe in (betraying, blank):
        # Without the own slices no label can be recalled that is not in the image.
        assert abs(probe.label_of_others.value - 0.5) < 0.15


def test_a_likeness_that_fades_with_height_is_seen_by_the_gap() -> None:
    rng = np.random.default_rng(0)
    table, labels = feature_table(n_patients=20, n_slices=12, identity=0.0, signal=0.0)
    walk = rng.standard_normal((20, 12, 30)).cumsum(axis=1).astype(np.float32)
    fading = FeatureTable(**{**vars(table), "features": walk})
    rates = [e.top1.value for e in _probe(fading, labels, gaps_mm=(1.0, 3.0, 8.0)).by_gap]
    assert rates[0] > rates[1] > rates[2]


def test_a_gap_that_no_patient_spans_is_undefined_with_a_reason() -> None:
    probe = _probe(*feature_table(n_patients=6, n_slices=4), gaps_mm=(1.0, 50.0))
    assert probe.by_gap[1].n_slices == 0
    assert probe.by_gap[1].top1.value is None
    assert "far apart" in probe.by_gap[1].top1.reason
    assert "50" not in probe.sentence


def test_the_order_of_scans_and_unlabelled_patients_change_nothing() -> None:
    table, labels = feature_table(n_patients=12, n_slices=4, two_sessions=2)
    order = np.random.default_rng(0).permutation(len(labels))
    turned = FeatureTable(
        **{
            name: value[order] if isinstance(value, np.ndarray) else tuple(value[i] for i in order)
            for name, value in vars(table).items()
        }
    )
    first, second = _probe(table, labels), _probe(turned, labels[order])
    assert [entry.top1.value for entry in first.by_gap] == pytest.approx(
        [entry.top1.value for entry in second.by_gap]
    )
    names = {name: "AD" for name in table.patient_ids[:5]}
    some = identity_probe(table, names, bootstrap_samples=100, seed=0)
    assert some.n_patients == 5


def test_a_large_cohort_is_represented_by_a_drawn_part() -> None:
    table, labels = feature_table(n_patients=30, n_slices=4)
    assert _probe(table, labels, max_patients=10).n_patients == 10
    assert _probe(table, labels, max_patients=10) == _probe(table, labels, max_patients=10)


def test_the_sentence_says_the_figures() -> None:
    probe = _probe(*feature_table(identity=1.0))
    for entry in (probe.by_gap[0].top1, probe.by_gap[-1].top1, probe.label_of_others):
        assert f"{100 * entry.value:.1f} %" in probe.sentence
    assert f"chance: {100 / 40:.1f} %" in probe.sentence


def test_one_patient_cannot_be_told_from_others() -> None:
    table, _ = feature_table(n_patients=4)
    with pytest.raises(ValueError, match="two patients"):
        identity_probe(table, {"p000": "AD"}, bootstrap_samples=100, seed=0)
