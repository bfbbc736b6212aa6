"""Ensembles of seeds and snapshots, against averages by hand and `predict`."""

import numpy as np
import pytest

from cnnjax.errors import UserError
from cnnjax.probes import PROBES
from cnnjax.probes.probe import share_done
from cnnjax.records import read_json
from cnnjax.studies.predictions import predict
from cnnjax.studies.scores import scores
from tests.probes.cases import make_net, make_subject
from tests.run.tiny import fit, tiny_run

PROBE = PROBES["ensemble"]
STREAM = np.random.RandomState(0)
LABELS = np.append(STREAM.randint(0, 5, 30), [0, 0])  # two that fill up a batch
MASK = np.append(np.ones(30), [0.0, 0.0])


def seen(num_seeds, moments):
    """Probabilities that slightly favour the right class, of each seed and moment."""

    def one():
        logits = STREAM.normal(size=(32, 5))
        logits[np.arange(32), LABELS] += 0.7
        rows = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
        return {"probabilities": rows, "labels": LABELS, "mask": MASK}

    return [{moment: one() for moment in moments} for _ in range(num_seeds)]


def subject(**changes):
    return make_subject(make_net("mlp", norm="none", widths=(4,))[0], **changes)


def error_of(rows):
    return 100 * np.mean(np.mean(rows, axis=0)[:30].argmax(1) != LABELS[:30])


def test_groups_of_seeds_do_not_overlap():
    of = subject(members=2)
    seeds = seen(5, ["1/1"])
    records = [PROBE.report_of_all(of, seeds, i) for i in range(5)]
    assert ["error" in record for record in records] == [
        True,
        False,
        True,
        False,
        False,
    ]
    pair = [seeds[j]["1/1"]["probabilities"] for j in (2, 3)]
    assert records[2]["error"] == pytest.approx(error_of(pair))
    curve = records[2]["profiles"][""]
    assert curve["positions"] == [1, 2]
    wanted = [error_of(pair[:1]), error_of(pair)]
    np.testing.assert_allclose(curve["values"], wanted, rtol=1e-5)


def test_snapshots_are_added_from_the_last_one():
    of = subject(snapshots=3)
    assert of.moments_of(PROBE) == ("1/3", "2/3", "3/3")
    (seed,) = seen(1, of.moments_of(PROBE))
    curve = PROBE.report_of_all(of, [seed], 0)["profiles"][""]
    rows = [seed[moment]["probabilities"] for moment in ("3/3", "2/3", "1/3")]
    wanted = [error_of(rows[:k]) for k in (1, 2, 3)]
    np.testing.assert_allclose(curve["values"], wanted, rtol=1e-5)


def test_a_broken_net_breaks_the_ensemble():
    seeds = seen(2, ["1/1"])
    seeds[1]["1/1"]["probabilities"][:] = np.nan
    record = PROBE.report_of_all(subject(members=2), seeds, 0)
    assert record["error"] == 100.0


def test_moments():
    assert [share_done(m) for m in ("start", "2/5", "3/3", "end")] == [0, 0.4, 1, 1]
    for probe in PROBES.values():
        assert subject().moments_of(probe) == (probe.moments or ("1/1",))


def test_more_members_than_seeds():
    with pytest.raises(UserError, match=r"eval\.members is 3, of 2 seeds: .*--seeds"):
        tiny_run(eval__members=3, seeds__count=2)


def test_a_run_has_the_error_that_predict_gives(tmp_path):
    options = {"eval__probes": ("ensemble",), "eval__members": 2, "seeds__count": 2}
    run = tiny_run(**options, train__steps=6)
    results = fit(run, tmp_path / "run").results
    found = predict([tmp_path / "run"])
    record = results[0]["probes"]["ensemble"]
    assert record["error"] == pytest.approx(
        scores(found.ensemble(), found.labels).error
    )
    assert record["profiles"][""]["values"][0] == pytest.approx(
        results[0]["final"]["test"]["error"]
    )
    assert "error" not in results[1]["probes"]["ensemble"]
    stored = read_json(tmp_path / "run" / "seed-0" / "result.json")
    assert stored["probes"]["ensemble"] == record


@pytest.mark.slow
def test_snapshots_survive_an_interruption(tmp_path):
    options = {"eval__probes": ("ensemble",), "eval__snapshots": 3}
    options |= {"schedule__kind": "cosine", "schedule__cycles": 3}
    whole = fit(tiny_run(**options), tmp_path / "whole").results
    with pytest.raises(Exception, match="tiny"):
        fit(tiny_run(**options), tmp_path / "parts", stop_at=6)
    parts = fit(tiny_run(**options), tmp_path / "parts").results
    assert parts[0]["probes"] == whole[0]["probes"]
    assert len(parts[0]["probes"]["ensemble"]["profiles"][""]["values"]) == 3
