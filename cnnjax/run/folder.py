"""The folder of one run: the run that it belongs to, what is done, its records."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cnnjax.config import differences, digest, to_dict
from cnnjax.data.contents import data_record
from cnnjax.errors import UserError, printable
from cnnjax.record_kinds import (
    CHECKPOINT,
    CONFIG,
    FILES_OF_RUN,
    FOLDERS_OF_RUN,
    PROVENANCE,
    RESULT,
)
from cnnjax.records import (
    is_there,
    is_writer,
    read_record,
    refuse_foreign,
    sift_record,
    to_line,
    write_json,
    write_text,
)
from cnnjax.run.provenance import commits_from, describe, earlier_commits
from cnnjax.run.setup import Run
from cnnjax.run.starting.origin import NoStart
from cnnjax.seal import SEAL, broken, result_digest, sealed, unlike

# How images become the input of the net: for its use where the data set is not.
PREPROCESSING = "preprocessing.json"


class RunFolder:
    """Reads and writes `config.json`, `provenance.json` and the seeds' results.

    Args:
      path: the folder.
      run: what is to be trained there.
      name: of the arm.

    Raises:
      UserError: the folder holds a run of another config or other data.
    """

    def __init__(self, path: Path, run: Run, name: str):
        self.path, self.run, self.name = path, run, name
        self.config = to_dict(run.config)
        self.config_hash = digest(run.config)
        # What each record says of its run, and its readers compare (`require_own`).
        self.identity = {
            "config_hash": self.config_hash,
            "data_fingerprint": run.dataset.fingerprint,
        }
        # Which commit trained from which step on, known once training starts.
        self.commits: list[dict[str, Any]] = []
        self._refuse_other_run()

    def seed_folder(self, seed: int) -> Path:
        return self.path / f"seed-{seed}"

    def checkpoint_name(self, step: int | None) -> str:
        return (
            "none yet" if step is None else str(self.path / "checkpoints" / str(step))
        )

    def finished_results(self) -> list[dict[str, Any]] | None:
        """The results, if every seed has one that is not a crash; None otherwise.

        Raises:
          UserError: a result cannot be read, was changed, or is not of this run.
        """
        found = [
            read_result(self.seed_folder(seed), {"seed": seed} | self.identity)
            for seed in self.run.seeds
        ]
        known = [result for result in found if result and not result.get("crashed")]
        return known if len(known) == len(found) else None

    def write_records(self) -> None:
        """Writes config, provenance, data and preprocessing, before training.

        Raises:
          UserError: the folder cannot be written.
        """
        path = self.path / "provenance.json"
        old = read_record(path, PROVENANCE) if is_there(path) else {}
        self.commits = earlier_commits(old)
        self._provenance = describe(self.run.dataset) | {"layout": self.run.laid_out()}
        if began := self.run.began:
            record = began.record(self.run.seeds)
            self._refuse_other_weights(record, old)
            self._provenance["start"] = record
        write_json(self.path / "config.json", self.config)
        write_json(path, self._provenance | {"commits": self.commits})
        write_json(self.path / "data.json", data_record(self.run.dataset))
        fed = {
            "class_names": self.run.dataset.class_names,
            "preprocessing": self.run.preprocess.record(),
            **self.identity,
        }
        # One line: a mean image has thousands of numbers.
        fed[SEAL] = result_digest(fed)
        write_text(self.path / PREPROCESSING, to_line(fed) + "\n")

    def _refuse_other_weights(
        self, record: Mapping[str, Any], old: Mapping[str, Any]
    ) -> None:
        """Compares start weights with those of an earlier start of this run.

        Raises:
          NoStart: they are others; no reason to end a sweep.
        """
        before = old.get("start", record)["digest"]
        if before != record["digest"]:
            raise NoStart(
                f"{printable(self.path)} was started from {record['weights']} when "
                f"these weights were others (digest {before[:12]}, now "
                f"{record['digest'][:12]}): put them back, or move this folder away"
            )

    def starts_at(self, step: int, metadata: dict[str, Any] | None) -> None:
        """Records that the commit of today trains from a step on.

        Args:
          step: where training starts or resumes.
          metadata: of the checkpoint that it resumes from.
        """
        before = (metadata or {}).get("commits", self.commits)
        self.commits = commits_from(before, step, self._provenance)
        record = self._provenance | {"commits": self.commits}
        write_json(self.path / "provenance.json", record)

    def metadata(self, step: int, loop: dict[str, Any]) -> dict[str, Any]:
        """What the checkpoint of a step holds beside the arrays."""
        return {
            "arm": self.name,
            "step": step,
            "config": self.config,
            **self.identity,
            "commits": self.commits,
            "loop": loop,
        }

    def check_metadata(self, metadata: dict[str, Any]) -> None:
        """Refuses a checkpoint of another config or other data."""
        require_metadata(self.path, metadata)
        self._compare(metadata["config"], metadata["data_fingerprint"], "checkpoints")

    def done(
        self,
        seed: int,
        final: dict[str, Any],
        best: dict[str, Any] | None,
        cost: dict[str, float | None],
        probes: dict[str, Any],
    ) -> dict[str, Any]:
        """The record of a seed that was trained to the end."""
        result = self._result(seed, "done", None, final, best, cost)
        return result | ({"probes": probes} if probes else {})

    def failed(self, seed: int, reason: str, cost: dict[str, Any]) -> dict[str, Any]:
        """The record of a seed that failed."""
        return self._result(seed, "failed", reason, None, None, cost)

    def crashed(self, seed: int, reason: str) -> dict[str, Any]:
        """The record of a seed whose program crashed; the next start tries it again."""
        cost = {"compile_seconds": 0.0, "run_seconds": 0.0, "images_per_second": 0.0}
        return self.failed(seed, reason, cost) | {"crashed": True}

    def write_results(self, results: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Writes each seed's `result.json`; once all are there, the run is done.

        A result that is there stays.

        Returns:
          The results as they are in the files now.

        Raises:
          UserError: the folder cannot be written.
        """
        if not is_writer():
            return results
        return [self._write_result(result) for result in results]

    def has_result(self, seed: int) -> bool:
        """Whether a seed has ended, as far as its result can be read."""
        there, _ = sift_record(self.seed_folder(seed) / "result.json", RESULT)
        return there is not None and not there.get("crashed")

    def _write_result(self, result: dict[str, Any]) -> dict[str, Any]:
        folder = self.seed_folder(result["seed"])
        path = folder / "result.json"
        there, wrong = sift_record(path, RESULT)
        if there and not there.get("crashed"):
            return there
        if wrong and result["status"] != "done":
            return result
        result = sealed(result, folder / "metrics.jsonl")
        write_json(path, result)
        return result

    def _result(self, seed, status, reason, final, best, cost) -> dict[str, Any]:
        run = self.run
        return {
            "arm": self.name,
            "seed": seed,
            "status": status,
            "reason": reason,
            "step": run.total_steps,
            "epochs": round(run.total_steps / run.steps_per_epoch, 6),
            "evaluated": run.evaluated(final=True),
            "final": final,
            "best": best,
            "cost": cost,
            "num_params": run.num_params,
            "multiply_adds": run.multiply_adds,
            **self.identity,
            "commits": self.commits,
        }

    def _refuse_other_run(self) -> None:
        for file, what in (
            ("plan.json", "an ablation, with a folder for each arm"),
            ("metrics.jsonl", "one seed of a run"),
        ):
            if is_there(self.path / file):
                raise UserError(
                    f"{self.path} is the folder of {what} ({file}): give another "
                    "--workdir"
                )
        config, provenance = self.path / "config.json", self.path / "provenance.json"
        seeds = [self.seed_folder(seed).name for seed in self.run.seeds]
        folders = (*FOLDERS_OF_RUN, *seeds)
        refuse_foreign(self.path, config.name, FILES_OF_RUN, folders)
        if not is_there(config):
            return
        old = read_record(config, CONFIG)
        if not old.keys() >= {"model", "train"}:
            raise UserError(
                f"{config} is not that of a run: give another --workdir, for this file "
                "would be replaced"
            )
        fingerprint = self.run.dataset.fingerprint
        if is_there(provenance):
            fingerprint = read_record(provenance, PROVENANCE)["data"]["fingerprint"]
        self._compare(old, fingerprint, "a run")

    def _compare(self, old: dict[str, Any], fingerprint: str, what: str) -> None:
        changed = differences(old, self.config)
        if changed:
            raise UserError(
                f"{self.path} holds {what} of another config ({'; '.join(changed)}): "
                "give the same config, or another --workdir"
            )
        if fingerprint != self.run.dataset.fingerprint:
            raise UserError(
                f"{self.path} holds {what} on other data (fingerprint {fingerprint}, "
                f"now {self.run.dataset.fingerprint}): give the same config.data and "
                "--data_dir, or another --workdir"
            )


def read_result(folder: Path, ours: Mapping[str, Any]) -> dict[str, Any] | None:
    """The result of a seed; None if there is none.

    Args:
      folder: of the seed.
      ours: what it must say of its run, such as 'config_hash'.

    Raises:
      UserError: it cannot be read, was changed, or is of another run.
    """
    path = folder / "result.json"
    if not is_there(path):
        return None
    result = read_record(path, RESULT)
    if result.get("crashed"):
        return result
    require_own(path, result, ours)
    if wrong := broken(result, folder / "metrics.jsonl"):
        raise _not_of_this_run(path, wrong)
    return result


def require_own(path: Path, record: Mapping[str, Any], ours: Mapping[str, Any]) -> None:
    """Refuses a record that says it is of another run.

    Args:
      path: of the record, for the message.
      record: what it holds; one of an earlier version may say nothing of its run.
      ours: what it must say where it says it, such as 'data_fingerprint'.

    Raises:
      UserError: it says otherwise.
    """
    if wrong := unlike(record, ours):
        raise _not_of_this_run(path, wrong)


def _not_of_this_run(path: Path, wrong: str) -> UserError:
    return UserError(
        f"{printable(path)} is not of this run ({wrong}): restore it, move it away, or "
        "give another --workdir"
    )


def refuse_without_weights(folder: Path) -> None:
    """Refuses a cell whose runs were taken from a published report.

    Raises:
      UserError: nothing was trained there.
    """
    record, _ = sift_record(folder / "provenance.json", PROVENANCE)
    origin = (record or {}).get("origin")
    if origin and not is_there(folder / "checkpoints"):
        raise UserError(
            f"{printable(folder)} has the results of runs that were taken from "
            f"{origin}, and a published report keeps no weights: move this folder "
            "away, and the same command without --resume_from trains them"
        )


def require_metadata(folder: Path, metadata: dict[str, Any]) -> None:
    """Refuses what no run saves beside the arrays of a checkpoint.

    Raises:
      UserError: something is missing, or of another type.
    """
    flaws: list[str] = []
    CHECKPOINT.sift(metadata, "", flaws)
    if flaws:
        raise UserError(
            f"a checkpoint in {printable(folder)} is not what a run wrote "
            f"({flaws[0]}): move it away, or give another --workdir"
        )
