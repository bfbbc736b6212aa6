"""The arithmetic of the benchmarks; their timings are not tested."""

import json
import sys
from pathlib import Path

import jax
import pytest

from benchmarks.bounded import not_measured, rows_of_process
from benchmarks.elsewhere import Elsewhere, interleave_processes
from benchmarks.idle import busy
from benchmarks.machine import MATMUL, SIDE
from benchmarks.measure import Times, interleave
from benchmarks.nets import FAMILIES, NETS
from benchmarks.rows import (
    TORCH,
    merged,
    regressions,
    rows_of,
    to_json,
    to_markdown,
)
from benchmarks.run import SUITES, Options, run_suites
from benchmarks.suites import accelerator, verdict
from cnnjax.errors import UserError
from cnnjax.records import from_line, read_json, to_line
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


def test_a_part_of_a_suite_replaces_its_rows():
    old, new = stored(), stored((0.6, 0.6, 0.6))
    other = old["rows"][0] | {"case": "other net"}
    both = merged(new, old | {"rows": [other, *old["rows"]]})
    assert both["rows"] == [other, *new["rows"]]
    with pytest.raises(UserError, match="another machine"):
        merged(new, old | {"machine": ABOUT["machine"] | {"cores": 3}})


def test_torch_has_a_column_for_each_way():
    times = {way: Times((0.2, 0.2, 0.2)) for way in TORCH[:2]}
    times |= {"cnnjax": Times((0.1, 0.1, 0.1))}
    rows = rows_of("net", times, TORCH[1], unit="step")
    text = to_markdown(to_json("train", rows, ABOUT))
    cells = "net | 100 ms | 200 ms | 200 ms | not measured | 0.50 (0.50 to 0.50)"
    assert f"| {cells} |" in text


def test_a_process_runs_its_step_when_asked():
    def process(code):
        return Elsewhere("way", code, {"CNNJAX_TEST": "7"})

    counting = """
import os
calls = []
units = int(os.environ["CNNJAX_TEST"])
def step():
    print("not an answer")
    calls.append(bytearray(2**22))
"""
    ran = process(counting)
    times, notes = interleave_processes([ran], {"other": list}, rounds=3)
    ran.close()
    assert {name: len(t.seconds) for name, t in times.items()} == {"way": 3, "other": 3}
    assert "GB" in notes["way"]
    with pytest.raises(RuntimeError, match="the process of way ended with code 1"):
        process("raise SystemExit(1)")


def test_busy_time_counts_overlaps_once():
    spans = [(5e6, 6e6), (0, 2e6), (1e6, 3e6), (1.5e6, 2e6), (9e6, 10e6)]
    assert busy(spans) == (0.5, 10.0)


def test_suites_can_be_found(tmp_path):
    options = {"against": "", "rounds": 3, "only": "", "out": tmp_path, "publish": True}
    with pytest.raises(UserError, match="train"):
        run_suites("trian", repository=tmp_path, **options)
    with pytest.raises(UserError, match="allowed are"):
        run_suites("train", repository=tmp_path, **options | {"against": "numpy"})


def test_every_suite_has_its_place_in_the_docs():
    with open("docs/benchmarks.md") as file:
        text = file.read()
    for suite in SUITES:
        assert f"<!-- begin {suite} -->" in text


@pytest.mark.parametrize("name", slow_but(list(NETS)[:1], NETS | FAMILIES))
def test_torch_has_the_same_net(name):
    torch_nets = pytest.importorskip(
        "benchmarks.peers.torch_nets",
        reason="compares with torch",
        exc_type=ImportError,
    )
    net = (NETS | FAMILIES)[name]
    config = net.config(1)
    if "scan_blocks" in config.model:
        config.model.scan_blocks = False  # every kernel is a separate leaf, as in torch
    run = set_up(config)
    peer = torch_nets.build(net.model, run.num_params)
    kernels = [p.numel() for p in peer.parameters() if p.ndim == 4]
    ours = [leaf.size for leaf in jax.tree.leaves(run.declared) if leaf.ndim == 4]
    assert sorted(kernels) == sorted(ours)


LINES = """
import json, sys, time
for number in range(2):
    row = {"case": "case", "way": f"way {number}", "seconds": 1.0, "unit": "step"}
    with open(sys.argv[1], "a") as file:
        print(json.dumps(row), file=file)
"""


@pytest.mark.parametrize(
    ("ending", "why"),
    [
        ("", None),
        ("time.sleep(60)", "over its time of 1 s"),
        ("raise SystemExit('no memory')", "no memory"),
    ],
)
def test_a_part_keeps_what_it_has_measured(ending, why, tmp_path):
    path = tmp_path / "rows.jsonl"
    command = [sys.executable, "-c", LINES + ending, str(path)]
    rows = list(rows_of_process("case", command, path, 1.0, Path.cwd()))
    assert [row.way for row in rows[:2]] == ["way 0", "way 1"]
    assert [row.note for row in rows[2:]] == ([f"not measured: {why}"] if why else [])


def test_rows_without_numbers_are_in_the_table():
    row = not_measured("devices", "there is one device")
    text = to_markdown(from_line(to_line(to_json("accelerator", [row], ABOUT))))
    assert "| devices |  |  |  |  |  | not measured: there is one device |" in text


def test_rows_are_stored_as_they_come(tmp_path, monkeypatch):
    """A suite that breaks off leaves those that it had."""

    def broken(options):
        yield not_measured("first", "it is a test")
        raise UserError("no device")

    monkeypatch.setattr(accelerator, "suite", broken)
    options = {"against": "", "rounds": 3, "only": "", "publish": False}
    with pytest.raises(UserError, match="no device"):
        run_suites("accelerator", out=tmp_path, repository=tmp_path, **options)
    (row,) = read_json(tmp_path / "accelerator.json")["rows"]
    assert row["case"] == "first"


def test_a_dry_run_publishes_nothing(tmp_path):
    options = {"against": "", "rounds": 3, "only": "", "dry_run": True}
    for name, publish in (("accelerator", True), ("train", False)):
        with pytest.raises(UserError, match="could be published"):
            run_suites(
                name, out=tmp_path, repository=tmp_path, publish=publish, **options
            )


def test_parts_fit_into_the_time():
    """Each gets its own where those before it end early; the whole is bounded."""
    assert accelerator.TOTAL_SECONDS <= 600
    assert max(part.seconds for part in accelerator.PARTS.values()) <= 150


@pytest.mark.slow
def test_the_accelerator_suite_needs_one():
    with pytest.raises(UserError, match="found none"):
        list(accelerator.suite(Options(rounds=3, only="norms", against="")))


@pytest.mark.slow
@pytest.mark.parametrize("part", accelerator.PARTS)
def test_what_an_accelerator_would_run(part):
    """The functions of each part, with tiny nets on any device."""
    options = Options(rounds=3, only="", against="", dry_run=True)
    groups = list(accelerator.PARTS[part].measure(accelerator.TINY, options))
    rows = [row for group in groups for row in group]
    if part == "ResNet-50 against torch":
        assert rows == []  # not asked for
        return
    assert {row.case for row in rows}
    if part == "devices" and len(jax.devices()) == 1:
        assert rows[0].note
        return
    assert all(row.seconds > 0 for row in rows)
    assert any(row.ratio for row in rows) == (part != "ResNet-50")


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
