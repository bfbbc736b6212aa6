"""The arithmetic of the benchmarks; their timings are not tested."""

import json

import jax
import pytest

from benchmarks.idle import busy
from benchmarks.machine import MATMUL, SIDE
from benchmarks.measure import Times, interleave
from benchmarks.nets import NETS, Net
from benchmarks.rows import regressions, rows_of, to_json, to_markdown
from benchmarks.run import SUITES, Options, run_suites
from benchmarks.suites import accelerator, verdict
from cnnjax.errors import UserError
from cnnjax.run.setup import set_up
from tests.slow import slow_but

ABOUT = {
    "date": "2026-01-01",
    "command": "./launch.sh benchmark --suite=train",
    "rounds": 3,
    "machine": {
        "processor": "P",
        "cores": 2,
        "devices": ["cpu:cpu"],
        "python": "3",
        "versions": {"jax": "1", "torch": None},
    },
}


def test_every_round_runs_every_case_in_turn():
    calls = []
    cases = {name: lambda name=name: calls.append(name) for name in "ab"}
    times = interleave(cases, rounds=3, warm_up=1)
    assert calls == ["a", "b"] * 4
    assert {len(t.seconds) for t in times.values()} == {3}


def test_ratios_are_paired():
    """The machine is twice as slow in the second round: the ratio does not move."""
    ours, theirs = Times((1.0, 2.0, 1.0)), Times((2.0, 4.0, 2.0))
    assert ours.ratio_to(theirs) == (0.5, 0.5, 0.5)


def stored(seconds=(0.3, 0.3, 0.3)):
    # 1e11 operations per second, where the product was fastest.
    product = 2 * SIDE**3 / 1e11
    times = {
        "cnnjax": Times(seconds),
        "torch": Times((0.2, 0.2, 0.2)),
        MATMUL: Times((3 * product, product, 2 * product)),
    }
    rows = rows_of(
        "net",
        times,
        "torch",
        unit="step",
        units={"cnnjax": 3, "torch": 1},
        images=10,
        flops=1e9,
    )
    return to_json("train", rows, ABOUT)


def test_a_row():
    ours, theirs = stored()["rows"]
    assert ours["seconds"] == pytest.approx(0.1)
    assert ours["ratio"] == pytest.approx(0.5)
    assert ours["rate"] == pytest.approx(100)
    assert ours["utilisation"] == pytest.approx(0.1)
    assert theirs["ratio"] is None


def test_the_table_says_where_it_comes_from():
    text = to_markdown(json.loads(json.dumps(stored())))
    assert "| net | cnnjax | 100 ms/step | 0.50 (0.50 to 0.50) | 100 | 10% |  |" in text
    assert "`./launch.sh benchmark --suite=train` on P (2 cores; cpu:cpu)" in text
    assert "jax 1" in text
    assert "torch None" not in text


def test_a_worse_ratio_is_news_and_a_better_one_is_not():
    slower = stored((0.5, 0.5, 0.5))
    (sentence,) = regressions(slower, stored())
    assert sentence == "train, net, cnnjax: 0.83 times torch, committed 0.50"
    assert not regressions(stored(), slower)
    # Quartiles that include the committed ratio are no evidence.
    assert not regressions(stored((0.3, 0.5, 0.3)), stored())


def test_busy_time_counts_overlaps_once():
    spans = [(5e6, 6e6), (0, 2e6), (1e6, 3e6), (1.5e6, 2e6), (9e6, 10e6)]
    assert busy(spans) == (0.5, 10.0)


def test_suites_can_be_found(tmp_path):
    options = {"against": "", "rounds": 3, "only": "", "out": tmp_path, "publish": True}
    with pytest.raises(UserError, match="train"):
        run_suites("trian", repository=tmp_path, **options)
    with pytest.raises(UserError, match="whole suites"):
        run_suites("train", repository=tmp_path, **options | {"only": "VGG"})
    with pytest.raises(UserError, match="allowed are"):
        run_suites("train", repository=tmp_path, **options | {"against": "numpy"})


def test_every_suite_has_its_place_in_the_docs():
    with open("docs/benchmarks.md") as file:
        text = file.read()
    for suite in SUITES:
        assert f"<!-- begin {suite} -->" in text


@pytest.mark.parametrize("name", slow_but(list(NETS)[:1], NETS))
def test_torch_has_the_same_net(name):
    torch_nets = pytest.importorskip(
        "benchmarks.peers.torch_nets",
        reason="compares with torch",
        exc_type=ImportError,
    )
    net = NETS[name]
    config = net.config(1)
    if "scan_blocks" in config.model:
        config.model.scan_blocks = False  # every kernel is a separate leaf, as in torch
    run = set_up(config)
    peer = torch_nets.build(net.model, run.num_params)
    kernels = [p.numel() for p in peer.parameters() if p.ndim == 4]
    ours = [leaf.size for leaf in jax.tree.leaves(run.declared) if leaf.ndim == 4]
    assert sorted(kernels) == sorted(ours)


@pytest.mark.slow
def test_what_an_accelerator_would_run(monkeypatch):
    """The same functions at a small size, as the suite refuses to run on a CPU."""
    options = Options(rounds=3, only="", against="")
    with pytest.raises(UserError, match="found none"):
        accelerator.suite(options)
    monkeypatch.setattr(accelerator, "STEPS", 1)
    tiny = Net("resnet20_cifar", {"depth": 6, "widths": (32, 32)}, 8, 4, 3)
    (row,) = accelerator.large_net(tiny, options, "float32")
    assert row.rate > 0
    assert row.utilisation > 0
    batch, group = accelerator.norms(tiny, options, "float32")
    assert batch.ratio is None
    assert group.ratio > 0
    assert "GiB" in group.note


def test_the_sentence_of_a_first_verdict():
    cases = (verdict.SET_UP, verdict.FIRST, verdict.AGAIN, verdict.WHOLE)
    rows = [
        verdict.row(case, Times((seconds, seconds + 9.0, seconds - 1.0)))
        for case, seconds in zip(cases, (12.0, 60.0, 40.0, 200.0), strict=True)
    ]
    stored = json.loads(json.dumps(to_json("verdict", rows, ABOUT)))
    assert verdict.summary(stored) == (
        "Set-up took 12 s, the first verdict 60 s (40 s with programs in the cache), "
        "`--scale=laptop` 200 s, from a fresh clone; medians of 3 on P, 2 cores, "
        "2026-01-01."
    )
    assert "59.0 to 69.0 s" in to_markdown(stored)
