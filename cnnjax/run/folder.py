"""The folder of one run: the run that it belongs to, what is done, its records."""

from pathlib import Path
from typing import Any

from cnnjax.config import differences, digest, to_dict
from cnnjax.data.contents import data_record
from cnnjax.errors import UserError
from cnnjax.records import read_json, to_line, write_json, write_text
from cnnjax.run.provenance import describe
from cnnjax.run.setup import Run

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
        self._refuse_other_run()

    def seed_folder(self, seed: int) -> Path:
        return self.path / f"seed-{seed}"

    def checkpoint_name(self, step: int | None) -> str:
        return (
            "none yet" if step is None else str(self.path / "checkpoints" / str(step))
        )

    def finished_results(self) -> list[dict[str, Any]] | None:
        """The results, if every seed has one that is not a crash; None otherwise."""
        paths = [self.seed_folder(seed) / "result.json" for seed in self.run.seeds]
        if not all(path.is_file() for path in paths):
            return None
        results = [read_json(path) for path in paths]
        return None if any(result.get("crashed") for result in results) else results

    def write_records(self) -> None:
        """Writes config, provenance, data and preprocessing, before training.

        Raises:
          UserError: the folder cannot be written.
        """
        write_json(self.path / "config.json", self.config)
        record = describe(self.run.dataset) | {"layout": self.run.laid_out()}
        write_json(self.path / "provenance.json", record)
        write_json(self.path / "data.json", data_record(self.run.dataset))
        fed = {
            "class_names": self.run.dataset.class_names,
            "preprocessing": self.run.preprocess.record(),
        }
        # One line: a mean image has thousands of numbers.
        write_text(self.path / PREPROCESSING, to_line(fed) + "\n")

    def metadata(self, loop: dict[str, Any]) -> dict[str, Any]:
        """What a checkpoint holds beside the arrays."""
        return {
            "config": self.config,
            "data_fingerprint": self.run.dataset.fingerprint,
            "loop": loop,
        }

    def check_metadata(self, metadata: dict[str, Any]) -> None:
        """Refuses a checkpoint of another config or other data."""
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

    def write_results(self, results: list[dict[str, Any]]) -> None:
        """Writes each seed's `result.json`; once all are there, the run is done."""
        for result in results:
            write_json(self.seed_folder(result["seed"]) / "result.json", result)

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
            "config_hash": self.config_hash,
            "data_fingerprint": run.dataset.fingerprint,
        }

    def _refuse_other_run(self) -> None:
        for file, what in (
            ("plan.json", "an ablation, with a folder for each arm"),
            ("metrics.jsonl", "one seed of a run"),
        ):
            if (self.path / file).exists():
                raise UserError(
                    f"{self.path} is the folder of {what} ({file}): give another "
                    "--workdir"
                )
        config, provenance = self.path / "config.json", self.path / "provenance.json"
        if not config.is_file():
            return
        old = read_json(config)
        if not isinstance(old, dict) or not old.keys() >= {"model", "train"}:
            raise UserError(
                f"{config} is not that of a run: give another --workdir, for this file "
                "would be replaced"
            )
        fingerprint = self.run.dataset.fingerprint
        if provenance.is_file():
            fingerprint = read_json(provenance)["data"]["fingerprint"]
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
