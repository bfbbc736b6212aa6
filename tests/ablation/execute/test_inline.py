"""Training the cells of a plan in parallel threads."""

import os
import threading
from types import SimpleNamespace

import pytest

from cnnjax.ablation.execute import inline
from cnnjax.ablation.execute.jobs import alone
from cnnjax.config import to_dict
from cnnjax.devices import parallel
from cnnjax.errors import UserError
from cnnjax.interrupt import Stopped, StopRequest
from cnnjax.lock import LOCK, LostError
from cnnjax.process import identity
from cnnjax.records import read_json, write_json
from cnnjax.run.starting.origin import NoStart
from tests.run.tiny import RESNET, Shown, fit, tiny_run


def test_what_stops_all_arms_is_what_the_person_hears(monkeypatch, tmp_path):
    started, order = threading.Barrier(2), []

    def train_cell(folder, name, cell, progress, stop, shared):
        order.append(name)
        started.wait(timeout=10)
        if name == "second":
            raise UserError("disk full")
        while not stop:
            pass
        raise Stopped(name)

    monkeypatch.setattr(inline, "train_cell", train_cell)
    monkeypatch.setattr(inline, "shared_keys", lambda cell: ())
    plan, stop = SimpleNamespace(workdir=tmp_path, cells=()), StopRequest()
    cells = dict.fromkeys(["first", "second", "third"])
    with pytest.raises(UserError, match="disk full"):
        inline.run_cells(plan, cells, 2, None, stop)
    assert sorted(order) == ["first", "second"]


@pytest.mark.parametrize(
    ("message", "told"),
    [("by zero\nand more", "by zero"), ("", "no reason given"), ("é \udcff",) * 2],
)
@pytest.mark.parametrize("kind", [ZeroDivisionError, SystemExit, GeneratorExit])
def test_a_crash_in_one_arm_is_recorded_and_the_others_go_on(
    monkeypatch, tmp_path, kind, message, told
):
    written, said = [], []

    def fit(cell, folder, *, name, **rest):
        if name == "bad":
            raise kind(message)

    class Folder:
        def __init__(self, path, cell, name):
            self.name = name

        def crashed(self, seed, reason):
            return {"arm": self.name, "seed": seed, "reason": reason}

        def write_results(self, results):
            written.extend(results)

    monkeypatch.setattr(inline, "fit", fit)
    monkeypatch.setattr(inline, "shared_keys", lambda cell: ())
    monkeypatch.setattr(inline, "RunFolder", Folder)
    (tmp_path / "bad").mkdir()
    cells = {name: SimpleNamespace(seeds=(0, 1)) for name in ("bad", "good")}
    progress = SimpleNamespace(say=said.append, prepare_run=lambda name: None)
    plan = SimpleNamespace(workdir=tmp_path, cells=())
    inline.run_cells(plan, cells, 1, progress, StopRequest())
    reason = f"{kind.__name__}: {told}"
    assert written == [{"arm": "bad", "seed": s, "reason": reason} for s in (0, 1)]
    assert said == [f"bad crashed and is marked failed: {reason}"]
    assert "in fit" in (tmp_path / "bad" / "crash.txt").read_text("utf-8")


def test_a_cell_whose_folder_another_has_is_left_to_it(tmp_path, monkeypatch):
    """The parent of the tests stands for a process that trains it."""
    said, trained, fit = [], [], inline.fit

    def fit_taken(run, folder, *, name, **rest):
        if name == "taken":
            return fit(run, folder, name=name, **rest)
        return trained.append(name)

    monkeypatch.setattr(inline, "fit", fit_taken)
    arms = dict.fromkeys(("taken", "free"), tiny_run())
    write_json(tmp_path / "taken" / LOCK, identity(os.getppid()))
    plan, progress = SimpleNamespace(workdir=tmp_path, cells=()), Shown()
    progress.say = said.append
    inline.run_cells(plan, arms, 1, progress, StopRequest())
    assert trained == ["free"]
    assert [path.name for path in (tmp_path / "taken").iterdir()] == [LOCK]
    assert said[0].startswith("taken is left out: ")
    assert inline.exit_code(plan, arms, said.append) == 1
    assert said[-1].startswith("2 of 2 cells have no result (taken is the first)")


def test_a_cell_is_not_started_from_one_that_is_unfinished(tmp_path, monkeypatch):
    """The other way round, the weights of the middle would be a start for ever."""

    def fit_broken(run, folder, *, name, **rest):
        assert name == "parent"
        raise RuntimeError("device lost")

    monkeypatch.setattr(inline, "fit", fit_broken)
    said, progress, run = [], Shown(), tiny_run()
    progress.say = said.append
    cells = [SimpleNamespace(name=name, after=()) for name in ("parent", "child")]
    cells[1].after = ("parent",)
    plan = SimpleNamespace(workdir=tmp_path, cells=cells)
    runs = dict.fromkeys(("parent", "child"), run)
    for name in runs:
        write_json(tmp_path / name / "config.json", to_dict(run.config))
    inline.run_cells(plan, runs, 1, progress, StopRequest())
    result = read_json(tmp_path / "child" / "seed-0" / "result.json")
    assert result["crashed"]
    assert said[1] == f"child is {result['reason']}"
    assert inline.exit_code(plan, runs, said.append) == 1
    assert said[-1].endswith("what they start from is unfinished: child")


def test_other_start_weights_of_one_cell_end_no_sweep(tmp_path, monkeypatch):
    def refused(run, folder, **rest):
        raise NoStart("other weights")

    monkeypatch.setattr(inline, "fit", refused)
    said, progress = [], Shown()
    progress.say = said.append
    plan, run = SimpleNamespace(workdir=tmp_path, cells=()), tiny_run()
    write_json(tmp_path / "child" / "config.json", to_dict(run.config))
    inline.run_cells(plan, {"child": run}, 1, progress, StopRequest())
    assert said == ["child crashed and is marked failed: other weights"]


def test_a_work_folder_that_vanishes_is_not_made_anew(tmp_path):
    workdir = tmp_path / "run"
    plan = SimpleNamespace(workdir=workdir, cells=())
    with alone(workdir, pytest.fail):
        workdir.rename(tmp_path / "moved")
        with pytest.raises(LostError, match="was moved"):
            inline.run_cells(plan, {"a": tiny_run()}, 1, Shown(), StopRequest())
    assert not workdir.exists()


def test_arms_that_differ_in_numbers_alone_compile_once(monkeypatch, tmp_path):
    """Two arms at a time; three programs: training, evaluation, the best weights."""
    compiled = []
    compile_program = parallel.compile_program

    def counted(*args, **kwargs):
        compiled.append(1)
        return compile_program(*args, **kwargs)

    monkeypatch.setattr(parallel, "compile_program", counted)
    arms = {
        "base": tiny_run(),
        "rate": tiny_run(schedule__learning_rate=0.05),
        "plain sgd": tiny_run(optimizer__momentum=0.0, optimizer__weight_decay=0.0),
        "longer": tiny_run(train__steps=15, schedule__kind="cosine"),
        "seed": tiny_run(seeds__first=7, loss__label_smoothing=0.1),
        "wider": tiny_run(arguments={"widths": (7,)}),
    }
    progress = Shown()
    progress.say = pytest.fail
    plan = SimpleNamespace(workdir=tmp_path, cells=())
    inline.run_cells(plan, inline.in_order(arms), 2, progress, StopRequest())
    assert len(compiled) == 6

    results = {name: fit(arm, tmp_path / name).results[0] for name, arm in arms.items()}
    assert len(compiled) == 6  # these were loaded from the cache
    alone = fit(arms["plain sgd"], tmp_path / "alone").results[0]
    assert results["plain sgd"]["final"] == alone["final"]
    losses = {result["final"]["train"]["loss"] for result in results.values()}
    assert len(losses) == len(arms)


@pytest.mark.slow
def test_arms_with_seeds_over_devices_give_the_same_table(tmp_path):
    """Bit for bit: plain and residual arms, their seeds on four of eight devices."""

    def train(folder, **more):
        arms = {
            name: tiny_run(
                "resnet20_cifar",
                RESNET | {"residual": name == "residual"},
                seeds__count=4,
                **more,
            )
            for name in ("plain", "residual")
        }
        progress = Shown()
        progress.say = pytest.fail
        plan = SimpleNamespace(workdir=tmp_path / folder, cells=())
        inline.run_cells(plan, arms, 2, progress, StopRequest())
        results = {n: fit(arm, plan.workdir / n).results for n, arm in arms.items()}
        return {
            name: [
                {k: v for k, v in result.items() if k not in ("cost", "digest")}
                for result in own
            ]
            for name, own in results.items()
        }

    alone = train("one")
    assert train("four", parallel__layout="seed=4") == alone
    assert len({r["final"]["train"]["loss"] for r in alone["plain"]}) == 4


def test_arms_with_one_program_are_neighbours_and_long_groups_come_first(monkeypatch):
    def arm(program, work):
        return SimpleNamespace(program=program, work=lambda: work)

    arms = {
        "short a": arm("a", 1),
        "long b": arm("b", 9),
        "short b": arm("b", 2),
        "middle c": arm("c", 5),
        "long a": arm("a", 8),
        "middle a": arm("a", 4),
    }
    monkeypatch.setattr(inline, "shared_keys", lambda cell: cell.program)
    order = ["long a", "middle a", "short a", "long b", "short b", "middle c"]
    assert list(inline.in_order(arms)) == order
