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
    for arm, low in (("residual-20", 1.0), ("residual-56", 1.2)):
        _set_train_errors(sweep_dir, arm, [low, 1.1, 1.3, 1.15, 1.05])
    verdicts = _verdicts(sweep_dir)
    assert {v.verdict for v in verdicts.values()} == {"supported"}
    values = collect(sweep_dir).values("train_error")
    expected = paired_contrast(
        [values["plain-56"][s] - values["plain-20"][s] for s in range(5)],
        alpha=0.05 / 6,
    )
    verdict = verdicts["plain degrades"]
    assert verdict.contrast == expected
    adjusted = holm([v.contrast.p for v in verdicts.values()])
    assert [v.p_holm for v in verdicts.values()] == adjusted
    assert verdict.seeds == (0, 1, 2, 3, 4)
    words = f"{expected.effect:.3g} points higher"
    assert verdict.direction == words
    assert verdict.reason == f"plain-56 is {words} than plain-20."


def test_nothing_is_left_to_compare_at_the_floor(sweep_dir):
    """Every seed at 0%: no evidence for 'at most 1 point more', which did say so."""
    for arm in ("residual-20", "residual-56"):
        _set_train_errors(sweep_dir, arm, [0.0] * 5)
    verdicts = _verdicts(sweep_dir)
    verdict = verdicts["residual keeps"]
    assert verdict.verdict == "no information"
    assert "at the floor" in verdict.reason
    # It is not tested, so the correction and the detectable effect do not count it; and
    # two others have the same numbers there.
    assert verdicts["depth x shortcut"].same_as == "plain degrades"
    p = {name: v.contrast.p for name, v in verdicts.items()}
    tested = ["plain degrades", "shortcuts help", "plain degrades, test"]
    adjusted = holm([p[name] for name in [*tested, "shortcuts help, test"]])
    assert [verdicts[name].p_holm for name in tested] == adjusted[:3]
    assert verdicts["depth x shortcut"].p_holm == adjusted[0]
    detectable = verdicts["plain degrades"].contrast.detectable
    values = collect(sweep_dir).values("train_error")
    differences = [values["plain-56"][s] - values["plain-20"][s] for s in range(5)]
    assert detectable == paired_contrast(differences, alpha=0.05 / 4).detectable


def test_equal_seeds_above_the_floor_are_judged_by_signs(sweep_dir):
    for arm in ("residual-20", "residual-56"):
        _set_train_errors(sweep_dir, arm, [2.0] * 5)
    verdict = _verdicts(sweep_dir)["residual keeps"]
    assert verdict.verdict == "undecided"
    assert "p cannot be below 0.062" in verdict.reason


def test_the_opposite_effect_contradicts(sweep_dir):
    _set_train_errors(sweep_dir, "residual-56", [9.0, 9.5, 8.8, 9.1, 9.3])
    verdict = _verdicts(sweep_dir)["residual keeps"]
    assert verdict.verdict == "contradicted"
    assert verdict.reason == (
        "residual-56 is 9.14 points higher than residual-20; claimed is at most 1 "
        "point higher."
    )
    # The effect has the sign of the sentence, which is about residual-56.
    assert verdict.contrast.effect == pytest.approx(-9.14)
    assert verdict.shown.value == pytest.approx(9.14)
    assert verdict.shown.low < 9.14 < verdict.shown.high
    assert (verdict.shown.limit, verdict.shown.most) == (1.0, True)


def test_a_noisy_effect_is_undecided_and_says_what_would_decide(sweep_dir):
    _set_train_errors(sweep_dir, "plain-56", [0.0, 5.0, 1.0, 6.0, 2.0])
    verdict = _verdicts(sweep_dir)["plain degrades"]
    assert verdict.verdict == "undecided"
    assert "which may be no difference" in verdict.reason
    assert verdict.seeds_needed > 5
    assert f"About {verdict.seeds_needed:,} seeds" in verdict.reason


def test_the_correction_can_turn_a_verdict(tmp_path):
    weak = higher(
        "train_error", "residual-20", than="plain-20", source="s", name="weak"
    )
    null = [
        higher("test_error", f"residual-{deep}", than="residual-8", source="s")
        for deep in (20, 32, 56)
    ]
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
    assert f"plain-20 1 of {len(seeds)}" in verdict.caveat


def test_a_failed_cell_leaves_its_pair_out(sweep_dir):
    edit_result(sweep_dir / "plain-56/seed-1", status="failed", reason="diverged")
    verdict = _verdicts(sweep_dir)["plain degrades"]
    assert verdict.seeds == (0, 2, 3, 4)
    assert "plain-56 1 of 5, plain-20 0 of 5 (Fisher's exact test, p = 1)" in (
        verdict.caveat
    )


def test_a_crashed_run_is_left_out_and_no_failure(sweep_dir):
    edit_result(sweep_dir / "plain-56/seed-1", status="failed", crashed=True)
    verdict = _verdicts(sweep_dir)["plain degrades"]
    assert "plain-56 seed 1 (failed)" in verdict.caveat
    assert verdict.failures is None


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
    assert verdict.verdict == "no information"
    assert verdict.contrast.effect == pytest.approx(6.0)
    assert "measured once" in verdict.reason
