import dataclasses
import json

import pytest

from cnnjax.ablation.define import higher
from cnnjax.ablation.judge.collect import collect
from cnnjax.ablation.judge.stats import holm, paired_contrast
from cnnjax.ablation.judge.verdicts import judge
from tests.ablation.small_degradation import get_ablation
from tests.ablation.synthetic_sweep import edit_result, write_sweep


def _verdicts(folder):
    return {v.claim.name: v for v in judge(collect(folder))}


def _set_train_errors(folder, arm, errors):
    for seed, error in enumerate(errors):
        path = folder / arm / f"seed-{seed}" / "result.json"
        data = json.loads(path.read_text())
        data["final"]["train"]["error"] = error
        path.write_text(json.dumps(data))


def test_clear_effects_are_supported_with_their_statistics(sweep_dir):
    verdicts = _verdicts(sweep_dir)
    assert {v.verdict for v in verdicts.values()} == {"supported"}
    values = collect(sweep_dir).values("train_error")
    expected = paired_contrast(
        [values["plain-56"][s] - values["plain-20"][s] for s in range(5)],
        alpha=0.05 / 6,
    )
    assert verdicts["plain degrades"].contrast == expected
    adjusted = holm([v.contrast.p for v in verdicts.values()])
    assert [v.p_holm for v in verdicts.values()] == adjusted
    assert verdicts["plain degrades"].seeds == (0, 1, 2, 3, 4)


def test_saturated_arms_are_not_worse_than_each_other(sweep_dir):
    for arm in ("residual-20", "residual-56"):
        _set_train_errors(sweep_dir, arm, [0.0] * 5)
    verdict = _verdicts(sweep_dir)["residual keeps"]
    assert verdict.verdict == "supported"
    assert "All seeds gave the same value" in verdict.reason
    assert verdict.contrast.no_spread


def test_the_opposite_effect_contradicts(sweep_dir):
    _set_train_errors(sweep_dir, "residual-56", [9.0, 9.5, 8.8, 9.1, 9.3])
    verdict = _verdicts(sweep_dir)["residual keeps"]
    assert verdict.verdict == "contradicted"
    assert "below the margin of -1 points" in verdict.reason


def test_a_noisy_effect_is_undecided_and_says_what_could_be_seen(sweep_dir):
    _set_train_errors(sweep_dir, "plain-56", [0.0, 5.0, 1.0, 6.0, 2.0])
    verdict = _verdicts(sweep_dir)["plain degrades"]
    assert verdict.verdict == "undecided"
    assert "contains the margin" in verdict.reason
    assert f"{verdict.contrast.detectable:.3g} points" in verdict.reason


def test_the_correction_can_turn_a_verdict(tmp_path):
    weak = higher(
        "train_error", "residual-20", than="plain-20", source="s", name="weak"
    )
    null = [dataclasses.replace(weak, name=f"null {i}") for i in range(3)]
    for claims, expected in (([weak], "supported"), ([weak, *null], "undecided")):
        ablation = dataclasses.replace(get_ablation(), claims=claims)
        folder = write_sweep(tmp_path / expected, ablation=ablation)
        _set_train_errors(folder, "plain-20", [0.0] * 5)
        # Mean 1; uncorrected p about 0.02.
        _set_train_errors(folder, "residual-20", [0.3, 1.6, 0.6, 1.5, 1.0])
        verdict = _verdicts(folder)["weak"]
        assert verdict.contrast.p < 0.05
        assert verdict.verdict == expected
    assert "after the correction for 4 claims" in verdict.reason


def test_claims_on_arms_of_another_scale_are_not_judged(tmp_path):
    assert _verdicts(write_sweep(tmp_path, scale="smoke", seeds=(0, 1))) == {}


@pytest.mark.parametrize("seeds", [(0,), (0, 1)])
def test_too_few_seeds(tmp_path, seeds):
    folder = write_sweep(tmp_path, seeds=seeds)
    edit_result(folder / "plain-20/seed-0", status="failed", reason="diverged")
    verdict = _verdicts(folder)["plain degrades"]
    assert verdict.verdict == "undecided"
    assert verdict.reason.startswith(f"Too few seeds: {len(seeds) - 1}")
    assert "plain-20 seed 0 (failed)" in verdict.caveat


def test_a_failed_cell_leaves_its_pair_out(sweep_dir):
    edit_result(sweep_dir / "plain-56/seed-1", status="failed", reason="diverged")
    verdict = _verdicts(sweep_dir)["plain degrades"]
    assert verdict.seeds == (0, 2, 3, 4)
    assert "plain-56 seed 1 (failed)" in verdict.caveat


def test_the_time_of_a_step_is_one_measurement(sweep_dir):
    for arm, seconds in (("plain-20", 0.01), ("plain-8", 0.004)):
        for seed in range(5):
            path = sweep_dir / arm / f"seed-{seed}" / "result.json"
            data = json.loads(path.read_text())
            data["cost"]["step_seconds"] = seconds
            path.write_text(json.dumps(data))
    sweep = collect(sweep_dir)
    claim = higher("step_milliseconds", "plain-20", than="plain-8", source="nobody")
    ablation = dataclasses.replace(sweep.ablation, claims=[claim])
    (verdict,) = judge(dataclasses.replace(sweep, ablation=ablation))
    assert verdict.verdict == "undecided"
    assert verdict.contrast.effect == pytest.approx(6.0)
    assert "measured once" in verdict.reason
