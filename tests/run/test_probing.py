"""Probes of whole runs: what they write, interrupted or not, on one device or more."""

import jax
import numpy as np
import pytest

from cnnjax.errors import UserError
from cnnjax.interrupt import Stopped
from cnnjax.run import loop
from cnnjax.run.probing import Measuring
from cnnjax.run.setup import initial_state
from tests.run.tiny import fit, tiny_run

ALL = ("layer_responses", "gradient_norms", "lesion", "shift")
NET = {
    "model": "resnet20_cifar",
    "arguments": {"depth": 8, "widths": (4,)},
    "seeds__count": 2,
    "eval__every_epochs": 0.0,
}

COMPILED = []


def probes_of(outcome):
    return [result["probes"] for result in outcome.results]


@pytest.fixture(scope="module")
def measured():
    return tiny_run(eval__probes=ALL, **NET)


@pytest.fixture(autouse=True)
def compiled_once(measured, monkeypatch):
    """Programs are pure: those of the run that is started again are compiled once."""
    compile_programs = loop.compile_programs

    def lookup(run, state, shared=None):
        if run is not measured:
            return compile_programs(run, state, shared)
        if not COMPILED:
            COMPILED.append(compile_programs(run, state))
        return COMPILED[0]

    monkeypatch.setattr(loop, "compile_programs", lookup)


@pytest.fixture(scope="module")
def whole(measured, tmp_path_factory):
    return fit(measured, tmp_path_factory.mktemp("runs") / "whole")


def test_a_record_for_each_probe_and_seed(whole):
    first, second = probes_of(whole)
    assert tuple(first) == tuple(second) == ALL
    assert first != second
    assert len(first["layer_responses"]["profiles"][""]["values"]) == 7
    assert first["lesion"]["profiles"][""]["labels"][1:] == [
        "stage1_block1",
        "stage1_block2",
        "stage1_block3",
    ]
    for probes, result in zip((first, second), whole.results, strict=True):
        test_error = result["final"]["test"]["error"]
        assert probes["lesion"]["error"] == pytest.approx(test_error)
        unmoved = probes["shift"]["profiles"][""]["values"][0]
        assert unmoved == pytest.approx(test_error)
        norms = probes["gradient_norms"]["profiles"]
        assert norms["at initialisation"]["values"] != norms["half way"]["values"]
        assert norms["half way"]["values"] != norms["at the end"]["values"]


@pytest.mark.parametrize(
    "stop_at", [6, *(pytest.param(step, marks=pytest.mark.slow) for step in (1, 4))]
)
def test_a_resumed_run_has_the_same_record(measured, whole, tmp_path, stop_at):
    """The middle is step 4; the dispatch before it ends there."""
    with pytest.raises(Stopped):
        fit(measured, tmp_path / "run", stop_at=stop_at)
    assert probes_of(fit(measured, tmp_path / "run")) == probes_of(whole)


def test_what_was_seen_does_not_depend_on_the_rest_of_the_run(whole, tmp_path):
    """The same numbers without probes, and the start is that of the initial weights."""
    plain = tiny_run(**NET)
    bare = fit(plain, tmp_path / "run")
    for a, b in zip(bare.results, whole.results, strict=True):
        assert "probes" not in a
        assert a["final"] == b["final"]


@pytest.mark.slow
def test_devices_and_scanned_blocks_make_no_difference(measured):
    """The same weights, of two seeds, measured under another execution."""
    state = initial_state(measured)
    other = tiny_run(
        eval__probes=ALL,
        **(NET | {"arguments": NET["arguments"] | {"scan_blocks": True}}),
        parallel__layout="seed=2,data=2",
        parallel__mode="shard_map",
    )
    records = []
    for run, start in ((measured, state), (other, initial_state(other))):
        measuring = Measuring(run)
        weights = run.parallel.put((start.params, start.model_state))
        for step in measuring.stops:
            measuring.look(step, *weights)
        records.append([measuring.results(i) for i in range(2)])
    jax.tree.map(_assert_close, *records)


def _assert_close(a, b):
    if isinstance(a, str):
        assert a == b
    else:
        np.testing.assert_allclose(a, b, rtol=1e-4)


@pytest.mark.parametrize("probe", ["layer_responses", "gradient_norms", "lesion"])
def test_a_net_without_what_is_measured_is_refused(probe):
    with pytest.raises(UserError, match=rf"{probe}.*config\.eval\.probes"):
        tiny_run(eval__probes=(probe,))


def test_an_unknown_probe_is_refused():
    with pytest.raises(UserError, match=r"'lesions'.*lesion.*config\.eval\.probes"):
        tiny_run(eval__probes=("lesions",))


@pytest.mark.slow
def test_running_statistics_are_seen_where_precise_ones_are_evaluated(tmp_path):
    """One training, three errors."""
    choice = {"eval__probes": ("statistics", "shift"), "eval__precise_batches": 1}
    probes = {
        kind: probes_of(
            fit(tiny_run(eval__statistics=kind, **choice, **NET), tmp_path / kind)
        )
        for kind in ("running", "precise")
    }
    seen = [of["statistics"] for of in probes["running"]]
    assert seen == [of["statistics"] for of in probes["precise"]]
    assert [of["shift"] for of in probes["running"]] != [
        of["shift"] for of in probes["precise"]
    ]
