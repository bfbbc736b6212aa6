"""Starts every cell of a plan in its own process or job, and waits for them."""

import contextlib
import os
import time
from collections.abc import Mapping
from typing import Any

from cnnjax.ablation.execute.cell import run_cell
from cnnjax.ablation.execute.changed import say_changed
from cnnjax.ablation.execute.inline import (
    exit_code,
    facts,
    in_order,
    is_done,
    plan_on_cpu,
    refuse_start,
    run_ablation,
    set_up_all,
    unfinished,
)
from cnnjax.ablation.execute.jobs import (
    Record,
    alone,
    read_jobs,
    refuse_other_jobs,
    write_jobs,
)
from cnnjax.ablation.execute.launchers import Local, Slurm, last_lines
from cnnjax.ablation.execute.slurm import cancel_line, parse_options
from cnnjax.ablation.execute.status import read_cells, summary
from cnnjax.ablation.execute.taken import take_published
from cnnjax.ablation.judge.published import Published
from cnnjax.ablation.plan import Plan, refuse_other_configs, write_plan
from cnnjax.errors import UserError, unknown_name
from cnnjax.files import UnfitFile
from cnnjax.interrupt import StopRequest, catching_signals
from cnnjax.lock import LOCK, holder
from cnnjax.process import absolute_entries
from cnnjax.records import write_text
from cnnjax.run.cautions import cautions_of_arms
from cnnjax.run.folder import RunFolder
from cnnjax.run.heartbeat import check_claim, read_heartbeat, write_heartbeat
from cnnjax.run.setup import Run
from cnnjax.screen import say

# Threads of this process, processes on this machine, or jobs on a cluster.
LAUNCHERS = ("inline", "local", "slurm")
ATTEMPTS = 2
NOTICE = b"\ninterrupted\n"
SHOW_SECONDS = 5.0


def train_cells(
    plan: Plan,
    *,
    launcher: str,
    jobs: int,
    launcher_options: str,
    wait: bool,
    published: Published | None = None,
) -> int:
    """Trains every cell that is not done yet.

    Args:
      plan: of `make_plan`.
      launcher: one of `LAUNCHERS`.
      jobs: cells at a time; 0 for the number of the scale, or as many as fit.
      launcher_options: for SLURM, as `slurm.parse_options` reads them.
      wait: whether to wait until the last cell has ended.
      published: runs that need not be trained.

    Returns:
      An exit code: 0, 1 if a cell crashed, 128 + the signal that interrupted it.

    Raises:
      UserError: options that do not fit, or an error that concerns all cells, such as a
        full disk.
    """
    if launcher not in LAUNCHERS:
        raise unknown_name("launcher", launcher, LAUNCHERS, "--launcher")
    if launcher != "slurm" and (launcher_options or not wait):
        raise UserError(
            "--launcher_options and --wait=false are for --launcher=slurm, not for "
            f"{launcher}: leave them out"
        )
    options = parse_options(launcher_options)
    jobs = jobs or plan.ablation.scale(plan.scale).jobs
    refuse_other_jobs(plan.workdir, launcher)
    if launcher == "inline":
        return run_ablation(plan, jobs=jobs, published=published)
    return launch_cells(plan, launcher, jobs, options, wait, published)


def launch_cells(
    plan: Plan,
    launcher: str,
    jobs: int,
    options: dict[str, Any],
    wait: bool,
    published: Published | None = None,
) -> int:
    """Trains each cell in its own process; arguments as in `train_cells`."""
    plan_on_cpu(options.get("gpus_per_node", 1))
    runs = set_up_all(plan)
    refuse_other_configs(plan)  # before a folder is made
    with alone(plan.workdir, say):
        take_published(plan, runs, published)
        return _launch(plan, runs, launcher, jobs, options, wait)


def _launch(
    plan: Plan,
    runs: dict[str, Run],
    launcher: str,
    jobs: int,
    options: dict[str, Any],
    wait: bool,
) -> int:
    write_plan(plan, {name: facts(run) for name, run in runs.items()})
    todo = {name: run for name, run in runs.items() if not is_done(plan, name, run)}
    for sentence in cautions_of_arms(todo):
        say(f"note: {sentence}")
    if len(todo) < len(runs):
        say(f"{len(runs) - len(todo)} of {len(runs)} cells are already done")
    if not todo:
        return say_changed(plan, runs, say)
    # No folder where the command was started may hide our modules, see launch.sh.
    os.environ["PYTHONSAFEPATH"] = "1"
    if (paths := os.environ.get("PYTHONPATH")) is not None:
        os.environ["PYTHONPATH"] = os.pathsep.join(absolute_entries(paths))
    folder = plan.workdir.absolute() / "launcher"
    with catching_signals(NOTICE) as stop:
        system: Local | Slurm = (
            Local(folder, jobs) if launcher == "local" else Slurm(folder, jobs, options)
        )
        after = {cell.name: cell.after for cell in plan.cells}
        launch = Launch(plan, in_order(todo, after), system)
        launch.attach()
        launch.start()
        if not wait:
            return launch.leave()
        return launch.follow(stop) or say_changed(plan, runs, say)


class Launch:
    """The cells that are not done: those to be started, and those that still run.

    Args:
      plan: of `make_plan`.
      runs: of the cells to train, in the order in which they start.
      system: where cells run.
    """

    def __init__(self, plan: Plan, runs: dict[str, Run], system: Local | Slurm):
        self.plan, self.runs, self.system = plan, runs, system
        self.attempts = dict.fromkeys(runs, 1)
        self.queue = list(runs)
        self.after = {cell.name: cell.after for cell in plan.cells}
        self.active: dict[str, Record] = {}
        self.cancelled: list[str] = []
        self.num_ended, self.next_show, self.shown = 0, 0.0, ""

    # -- start ------------------------------------------------------------------------

    def attach(self) -> None:
        """Takes over the cells that an earlier command left running.

        Raises:
          UserError: SLURM does not answer.
        """
        known = read_jobs(self.plan.workdir)
        if known["launcher"] == self.system.name:
            if not self.system.poll():
                raise UserError(
                    "squeue does not answer, and cells of this folder may still be "
                    "queued: run the command again when SLURM answers"
                )
            for name in list(self.queue):
                record = self.system.found(name, known["cells"].get(name, {}))
                if record and self._is_active(name, record):
                    self._take_over(name, record)
        if self.active:
            say(f"{len(self.active)} cells of an earlier command still run")

    def _take_over(self, name: str, record: Record) -> None:
        self.active[name] = {"job": "", "attempt": 1} | record
        self.attempts[name] = self.active[name]["attempt"]
        self.queue.remove(name)

    def start(self) -> None:
        """Starts as many cells as fit; waits for those that others train."""
        names: list[str] = []
        left = {*self.queue, *self.active}
        for name in list(self.queue):
            if not left.isdisjoint(self.after.get(name, ())):
                continue  # it starts from the weights of one that is not trained yet
            if self._lacks_start(name):
                continue
            if len(names) >= self.system.free_slots(list(self.active.values())):
                break
            if owner := holder(self.plan.workdir / name / LOCK):
                say(f"{name}  is trained by process {owner['pid']} on {owner['host']}")
                self._take_over(name, {"attempt": self.attempts[name]} | owner)
            elif self._is_gone(name):
                self.queue.remove(name)
            else:
                names.append(name)
                write_heartbeat(self.plan.workdir / name, "waiting")
        if not names:
            return
        active = list(self.active.values())
        workdir = str(self.plan.workdir.absolute())
        cells = [(workdir, name) for name in names]
        prepared = self.system.prepare(cells, active)
        # Before they start: the next command must find them, should this one be killed
        # now. The cells read the user's command there.
        self._store_jobs(dict(zip(names, prepared, strict=False)))
        records = self.system.submit(run_cell, cells, prepared)
        for name, record in zip(names, records, strict=True):
            self.active[name] = record | {"attempt": self.attempts[name]}
            self.queue.remove(name)
        self._store_jobs()
        jobs = list(dict.fromkeys(record["job"].split("_")[0] for record in records))
        what = names[0] if len(names) == 1 else f"{len(names)} cells"
        kind = "process" if self.system.name == "local" else "job"
        say(f"{what}  started by {self.system.name}, {kind} {', '.join(jobs)}")

    def _store_jobs(self, prepared: Mapping[str, Record] | None = None) -> None:
        about = {
            name: record | {"attempt": self.attempts[name]}
            for name, record in (prepared or {}).items()
        }
        write_jobs(self.plan.workdir, self.system.name, self.active | about)

    # -- wait -------------------------------------------------------------------------

    def follow(self, stop: StopRequest) -> int:
        """Waits for all cells and starts others when they fit; the exit code."""
        began = time.monotonic()
        while self.active or self.queue:
            if stop:
                return self.end(stop)
            try:
                self.look()
                self.start()
            except UserError:
                self.end(stop)
                raise
            self._show()
            # Long jobs are polled less often.
            waited = time.monotonic() - began
            time.sleep(0.3 if self.system.name == "local" else min(10, 1 + waited / 30))
        self._store_jobs()
        if self.cancelled:
            say(
                f"cancelled in SLURM: {', '.join(self.cancelled)}; the same command "
                "resumes them"
            )
        return 1 if self.cancelled else exit_code(self.plan, self.runs, say)

    def look(self) -> None:
        """Handles the cells that have ended.

        Raises:
          UserError: one of them was refused, which concerns all; or the work folder is
            gone.
        """
        check_claim(self.plan.workdir)
        if not self.system.poll():
            say("squeue does not answer; trying again")
            return
        for name, record in list(self.active.items()):
            if self._is_active(name, record):
                continue
            del self.active[name]
            beat, state = self._beat(name), self.system.state(record)
            # SLURM drops tasks of an array that were cancelled before they started.
            never_began = self.system.name == "slurm" and beat["status"] == "waiting"
            if self._is_gone(name):
                continue
            if results := self._folder(name).finished_results():
                failed = sum(result["status"] == "failed" for result in results)
                some = f"{failed} of {len(results)} seeds failed"
                self._ended(name, some if failed else "done")
            elif state == "CANCELLED" or (never_began and not state):
                self.cancelled.append(name)
                self._ended(name, "cancelled")
            elif beat["status"] == "stopped" or state == "PREEMPTED":
                say(f"{name}  was interrupted and saved; it is started again")
                self.queue.insert(0, name)
            elif beat["status"] == "refused":
                raise UserError(f"cell {name}: {beat['reason']}")
            else:
                self._failed(name, record, beat)

    def _failed(self, name: str, record: Record, beat: dict[str, Any]) -> None:
        crashed = beat["status"] == "crashed"
        reason = beat["reason"] if crashed else self._verdict(record, beat)
        if self.attempts[name] < ATTEMPTS:
            self.attempts[name] += 1
            say(f"{name}  {reason}; attempt {self.attempts[name]} of {ATTEMPTS}")
            self.queue.insert(0, name)
            return
        log = self.system.log(record)
        if not crashed:
            with contextlib.suppress(OSError, UnfitFile):
                write_text(
                    self.plan.workdir / name / "crash.txt",
                    "\n".join([f"{reason}; the end of {log}:", *last_lines(log), ""]),
                )
        folder, seeds = self._folder(name), self.runs[name].seeds
        reason = f"{reason} ({ATTEMPTS} attempts)"
        folder.write_results([folder.crashed(seed, reason) for seed in seeds])
        self._ended(name, f"failed: {reason}; see {log}")

    def _is_gone(self, name: str) -> bool:
        """Whether the folder of a cell was moved or removed, which is said."""
        if (self.plan.workdir / name / "config.json").exists():
            return False
        self._ended(name, "failed: its folder was moved or removed")
        return True

    def _lacks_start(self, name: str) -> bool:
        """Whether what a cell starts from has ended without results, which is said."""
        parents = self.runs.keys() & self.after.get(name, ())
        lacking = unfinished(self.plan, {key: self.runs[key] for key in parents})
        if lacking:
            self.queue.remove(name)
            self._ended(name, refuse_start(self._folder(name), lacking[0]))
        return bool(lacking)

    def _verdict(self, record: Record, beat: dict[str, Any]) -> str:
        """Why a cell ended that did not write a reason."""
        verdict, peak = self.system.verdict(record), beat.get("peak_memory_bytes")
        if peak and "memory" not in verdict:
            verdict += f"; it had up to {peak / 1e9:.2g} GB of memory"
        return verdict

    def _ended(self, name: str, how: str) -> None:
        self.num_ended += 1
        say(f"{name}  {how}  ({self.num_ended}/{len(self.runs)} cells)")

    def _folder(self, name: str) -> RunFolder:
        return RunFolder(self.plan.workdir / name, self.runs[name], name)

    def _beat(self, name: str) -> dict[str, Any]:
        unknown = {"status": "", "reason": "it wrote no reason"}
        return unknown | read_heartbeat(self.plan.workdir / name)

    def _is_active(self, name: str, record: Record) -> bool:
        """Whether the job of a cell is active, or its process has outlived the job."""
        if self.system.is_active(record):
            return True
        try:
            return holder(self.plan.workdir / name / LOCK) is not None
        except OSError:  # that it cannot be read now is nobody's end
            return True

    def _show(self) -> None:
        start = time.monotonic()
        if start < self.next_show:
            return
        line = summary(read_cells(self.plan.workdir))
        # Reading thousands of cells must take only a small share of the time.
        took = time.monotonic() - start
        self.next_show = start + max(SHOW_SECONDS, 20 * took)
        if line != self.shown:
            say(line)
        self.shown = line

    # -- end --------------------------------------------------------------------------

    def end(self, stop: StopRequest) -> int:
        """Ends after local cells have saved; returns an exit code."""
        if not self.system.stop(list(self.active.values())):
            self.leave()
            return stop.exit_code
        while self.system.poll() and any(
            self.system.is_active(record) for record in self.active.values()
        ):
            time.sleep(0.1)
        self.system.poll()
        say("interrupted; the same command resumes")
        return stop.exit_code

    def leave(self) -> int:
        """Explains how to follow or cancel the cells in SLURM."""
        jobs = [record["job"] for record in self.active.values()]
        say(
            "SLURM keeps running the cells: ./launch.sh status --workdir="
            f"{self.plan.workdir} shows them, the same command waits for them, "
            f"'{cancel_line(jobs)}' cancels them"
        )
        if self.queue:
            say(
                f"{len(self.queue)} cells start from weights of these: the same "
                "command submits them once those have ended"
            )
        return 0
