"""The training loop: dispatch, log, evaluate, save, until the last step."""

import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from cnnjax.data.dataset import Dataset
from cnnjax.data.readable import require_readable
from cnnjax.data.split import Unreadable
from cnnjax.devices import distributed
from cnnjax.errors import UserError
from cnnjax.interrupt import Stopped, StopRequest
from cnnjax.records import is_writer
from cnnjax.run.checkpoints.manager import Checkpoints
from cnnjax.run.checkpoints.restore import restore_latest, save, save_statistics
from cnnjax.run.curves import Curves
from cnnjax.run.folder import RunFolder
from cnnjax.run.heartbeat import Heartbeat, check_claim, claimed
from cnnjax.run.outcome import Cost, failure, record_of_best
from cnnjax.run.probing import Measuring
from cnnjax.run.programs import Programs, compile_programs
from cnnjax.run.setup import SPLITS, Run, saved_example
from cnnjax.run.shared import Shared
from cnnjax.training.evaluate import not_finite
from cnnjax.training.state import TrainState


def fit(
    run: Run,
    workdir: Path,
    *,
    name: str,
    progress: Any,
    stop: StopRequest,
    warn: Callable[[str], None],
    shared: Shared | None = None,
) -> list[dict[str, Any]]:
    """Trains all seeds of a run, or resumes where an earlier call ended.

    Args:
      run: of `set_up`.
      workdir: folder of the run; see docs/design.md for what is in it.
      name: of the arm, for results and display.
      progress: gives a handle `start_run(name, total_steps, first_step)`.
      stop: checked between dispatches.
      warn: called with a sentence for the user.
      shared: data and programs that other runs of the process use as well.

    Returns:
      The results of all seeds, as in `result.json`.

    Raises:
      UserError: the folder belongs to another config or is trained by another process,
        or is lost, or cannot be written; an image cannot be read.
      Stopped: `stop` was set; a checkpoint was saved.
    """
    folder = RunFolder(workdir, run, name)
    finished = folder.finished_results()
    if not distributed.max_over_processes(finished is None):
        assert finished is not None  # None in no process
        return finished
    with contextlib.ExitStack() as stack:
        claim = claimed(workdir, warn)
        distributed.check_together(lambda: stack.enter_context(claim))
        # What another process has done meanwhile counts.
        folder = RunFolder(workdir, run, name)
        try:
            return _fit(folder, progress, stop, warn, shared)
        except Exception:
            # A lost folder is the reason of whatever follows. A save that was under way
            # may have made it anew; with the lock in it, it is not empty.
            for path in (workdir / "checkpoints", workdir) if is_writer() else ():
                with contextlib.suppress(OSError):
                    path.rmdir()
            check_claim(workdir)
            raise


def _fit(
    folder: RunFolder,
    progress: Any,
    stop: StopRequest,
    warn: Callable[[str], None],
    shared: Shared | None,
) -> list[dict[str, Any]]:
    """Trains in a folder that is this process's own; arguments as of `fit`."""
    run, workdir, name = folder.run, folder.path, folder.name
    distributed.check_together(lambda: _require_readable(run.dataset, stop))
    folder.write_records()
    progress = Heartbeat(progress, workdir)
    start = saved_example(run)
    programs = compile_programs(run, start["state"], shared)
    with Checkpoints(
        workdir / "checkpoints", keep_last=run.checkpoint.keep_last, warn=warn
    ) as checkpoints:
        loop = Loop(run, programs, checkpoints, folder, warn)
        loop.restore_or_start(start)
        shown = progress.start_run(name, run.total_steps, loop.step)
        try:
            while loop.step < run.total_steps and not loop.all_failed:
                # Never written back as 0: a signal may have come while they agreed.
                if code := distributed.max_over_processes(stop.exit_code):
                    stop.exit_code = code
                    loop.save()
                    raise Stopped(f"{name} stopped at step {loop.step}")
                loop.advance(shown)
            results = loop.finish()
        except Unreadable as error:
            shown.end("stopped")
            raise UserError(
                f"{error}; once the image is as it was at the start, the same "
                "command resumes from the last checkpoint; with another image it is "
                "other data, for another --workdir"
            ) from error
        except BaseException:
            shown.end("stopped")
            raise
        finally:
            loop.close()
        failed = sum(result["status"] == "failed" for result in results)
        shown.end(f"{failed} of {len(results)} seeds failed" if failed else "done")
    return results


def _require_readable(dataset: Dataset, stop: StopRequest) -> None:
    require_readable(
        (dataset.validation, dataset.test),
        dataset.fingerprint,
        process=distributed.process_index(),
        num_processes=distributed.num_processes(),
        stop=stop,
    )


class Loop:
    """The state of a run on the host, between two dispatches.

    Everything here that outlives a dispatch is saved with each checkpoint, so that a
    run that was killed resumes exactly as if it had not been.
    """

    def __init__(
        self,
        run: Run,
        programs: Programs,
        checkpoints: Checkpoints,
        folder: RunFolder,
        warn: Callable[[str], None],
    ):
        self.run, self.programs = run, programs
        self.checkpoints, self.folder = checkpoints, folder
        num_seeds = len(run.seeds)
        self.step = 0
        self.state: TrainState  # set by `restore_or_start`
        self.best: Any = None  # (params, model_state) that are best on validation
        self.best_error = np.full(num_seeds, np.inf)
        self.best_step = np.zeros(num_seeds, int)
        self.failed_at = np.full(num_seeds, -1)  # step of the first non-finite loss
        self.last_good = [""] * num_seeds
        self.curves = Curves(run, folder, warn)
        self.cost = Cost(programs.compile_seconds)
        self.measuring = Measuring(run)
        self.log_every = run.interval(run.log.every_epochs)
        self.eval_every = run.interval(run.eval.every_epochs)
        self.save_every = run.interval(run.checkpoint.every_epochs)

    # -- start and end ----------------------------------------------------------------

    def restore_or_start(self, start: dict[str, Any]) -> None:
        """Resumes from the newest whole checkpoint, or starts from initial weights."""
        found = restore_latest(
            self.checkpoints, self.run, start, self.folder.check_metadata
        )
        tree, metadata = start, None
        if found is not None:
            self.step, tree, metadata = found
            self._load(metadata["loop"])
        distributed.require_same(self.step, "the newest checkpoint")
        self.checkpoints.set_aside_after(self.step)
        self.folder.starts_at(self.step, metadata)
        self.state = self.run.parallel.put(tree["state"])
        self.best = self.run.parallel.put(tree["best"])
        self._measure()
        self.curves.open(self.step)

    def finish(self) -> list[dict[str, Any]]:
        """Evaluates the last and the best weights and writes the results."""
        start = time.perf_counter()
        trained = self.programs.weights(self.state)
        weights = self._settled(trained)
        final = self.programs.evaluate(*weights, SPLITS, final=True)
        best = best_weights = None
        if self.best is not None:
            best_weights = self._settled(self.best)
            best = self.programs.evaluate(*best_weights, ("test",), final=True)["test"]
        check_claim(self.folder.path)
        if self.run.eval.statistics == "precise":
            of_best = best_weights and best_weights[1]
            settled = {"final": weights[1], "best": of_best}
            save_statistics(self.folder, self.step, settled)
        self.cost.run_seconds += time.perf_counter() - start
        if not self.all_failed:
            self.measuring.look(self.step, *weights, as_trained=trained[1])
        results = []
        for i, seed in enumerate(self.run.seeds):
            of_final = {split: rows[i] for split, rows in final.items()}
            of_best = None
            if best is not None and np.isfinite(self.best_error[i]):
                judged = int(self.best_step[i]), float(self.best_error[i])
                of_best = record_of_best(self.run, *judged, best[i])
            failed = int(self.failed_at[i]), self.last_good[i]
            if reason := failure(self.run, *failed, of_final, of_best):
                results.append(self.folder.failed(seed, reason, self._cost()))
                continue
            probes = self.measuring.results(i)
            results.append(
                self.folder.done(seed, of_final, of_best, self._cost(), probes)
            )
            self.curves.write_final(i, self.step, of_final)
        check_claim(self.folder.path)
        return self.folder.write_results(results)

    def close(self) -> None:
        self.programs.close()
        self.curves.close()

    # -- one dispatch -----------------------------------------------------------------

    def advance(self, shown: Any) -> None:
        """Trains up to the next event, then logs, evaluates and saves what is due."""
        start = time.perf_counter()
        stop = self._next_stop(self.step)
        num_steps, then = stop - self.step, self._next_stop(stop) - stop
        self.state, rows = self.programs.advance(self.state, self.step, num_steps, then)
        self._note_failures(rows)
        self.curves.add(rows)
        self.step += num_steps
        seconds = time.perf_counter() - start
        self.cost.add_dispatch(seconds, num_steps)
        if self._due(self.log_every):
            self.curves.write_train(self.step, self.failed)
        if self.run.eval.every_epochs and self._due(self.eval_every):
            self._validate()
        self.cost.run_seconds += time.perf_counter() - start
        self._measure()
        loss_sum, count = rows["loss"]
        images = num_steps * self.run.train.batch_size * len(self.run.seeds)
        shown.update(
            self.step,
            {"loss": float(loss_sum.sum() / count.sum())},
            images / seconds,
        )
        if self._due(self.save_every) and not self.all_failed:
            self.save()

    def save(self) -> None:
        """Saves everything that a later process needs to resume exactly here."""
        if self.checkpoints.latest_step() == self.step:
            return
        check_claim(self.folder.path)
        tree = {"state": self.state, "best": self.best}
        metadata = self.folder.metadata(self.step, self._dump())
        save(self.checkpoints, self.run, self.step, tree, metadata)

    @property
    def failed(self) -> np.ndarray:
        """Which seeds have met a loss that is not finite, bool [S]."""
        return self.failed_at >= 0

    @property
    def all_failed(self) -> bool:
        return bool(self.failed.all())

    def _next_stop(self, step: int) -> int:
        """Where the dispatch that starts at a step ends."""
        events = [self.run.total_steps, step + self.programs.max_steps]
        for every in (self.log_every, self.eval_every, self.save_every):
            events.append((step // every + 1) * every)
        events += [stop for stop in self.measuring.stops if stop > step]
        return min(events)

    def _due(self, every: int) -> bool:
        return self.step % every == 0 or self.step == self.run.total_steps

    def _note_failures(self, rows: dict[str, Any]) -> None:
        bad = ~np.isfinite(rows["loss"][0])  # [S, steps]
        for i in np.flatnonzero(bad.any(axis=1) & ~self.failed):
            self.failed_at[i] = self.step + int(bad[i].argmax()) + 1
            self.last_good[i] = self.folder.checkpoint_name(
                self.checkpoints.latest_step()
            )

    def _validate(self) -> None:
        if not len(self.run.dataset.validation):
            return
        weights = self.programs.judged(self.state)
        rows = self.programs.evaluate(*weights, ("validation",))["validation"]
        # A broken net is wrong everywhere, but never the best so far.
        broken = [not_finite({"validation": row}) is not None for row in rows]
        errors = np.where(broken, np.inf, [row["error"] for row in rows])
        improved = (errors < self.best_error) & ~self.failed
        if self.best is not None and improved.any():
            self.best = self.programs.improve(improved, weights, self.best)
            self.best_error = np.where(improved, errors, self.best_error)
            self.best_step = np.where(improved, self.step, self.best_step)
        if self.step == self.run.total_steps:
            return  # `finish` writes this row, with the other splits
        self.curves.write_eval(self.step, "validation", rows, self.failed)

    def _settled(self, weights: Any) -> tuple[Any, Any]:
        """Weights with the statistics of the last evaluation."""
        params, model_state = weights
        return params, self.programs.final_statistics(params, model_state)

    def _measure(self) -> None:
        """Lets the probes measure during training; at its end `finish` does."""
        if self.step < self.run.total_steps:
            self.measuring.look(self.step, *self.programs.weights(self.state))

    # -- what is saved beside the arrays ----------------------------------------------

    def _dump(self) -> dict[str, Any]:
        return {
            "best_error": self.best_error.tolist(),
            "best_step": self.best_step.tolist(),
            "failed_at": self.failed_at.tolist(),
            "last_good": self.last_good,
            "pending": self.curves.dump(),
            **self.cost.dump(),
            "probes": self.measuring.dump(),
        }

    def _load(self, saved: dict[str, Any]) -> None:
        self.best_error = np.array(saved["best_error"], float)
        self.best_step = np.array(saved["best_step"], int)
        self.failed_at = np.array(saved["failed_at"], int)
        self.last_good = list(saved["last_good"])
        self.curves.load(saved["pending"])
        self.cost.load(saved)
        self.measuring.load(saved["probes"])

    def _cost(self) -> dict[str, float | None]:
        num_seeds = len(self.run.seeds)
        images = self.step * self.run.train.batch_size * num_seeds
        return self.cost.record(num_seeds, images, self.programs.memory_bytes)


def require_some_success(results: list[dict[str, Any]]) -> None:
    """Raises when a single run, outside an ablation, has only failed seeds.

    Raises:
      UserError: with the reason of the first.
    """
    if all(result["status"] == "failed" for result in results):
        raise UserError(
            f"training failed for all {len(results)} seeds: {results[0]['reason']}; "
            "lower config.schedule.learning_rate or set config.optimizer.clip_norm"
        )
