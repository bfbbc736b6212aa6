"""Probes of one run: when they measure, and what they have measured so far."""

import functools
from typing import Any

import numpy as np

from cnnjax.data.order import eval_batches
from cnnjax.devices.layout import DATA, SEEDS
from cnnjax.devices.parallel import Parallel
from cnnjax.net.forward import forward_eval
from cnnjax.probes import PROBES
from cnnjax.probes.probe import Probe, Subject, share_done
from cnnjax.run.setup import Run


class Measuring:
    """Measures the weights of all seeds at the moments that the probes ask for.

    All seeds come to the first device of each process, one after another: the layout
    of the run makes no difference.

    Args:
      run: of `set_up`; `run.eval.probes` names the probes.
    """

    def __init__(self, run: Run):
        self._run = run
        self._subject = subject_of(run)
        self._probes = {name: PROBES[name] for name in run.eval.probes}
        # Probe -> moment -> name -> values [S, ...].
        self._seen: dict[str, dict[str, dict[str, Any]]] = {
            name: {} for name in self._probes
        }
        self._programs: dict[str, Any] = {}
        self._images: dict[str, Any] = {}

    @property
    def stops(self) -> list[int]:
        """Steps at which something is measured."""
        moments = {
            moment
            for probe in self._probes.values()
            for moment in self._subject.moments_of(probe)
        }
        return sorted(self._step(moment) for moment in moments)

    def look(
        self, step: int, params: Any, model_state: Any, as_trained: Any = None
    ) -> None:
        """Measures what is due at a step and was not measured yet.

        Args:
          step: of the training.
          params: of all seeds.
          model_state: of all seeds, as it is evaluated.
          as_trained: with the running statistics; None where that is `model_state`.
        """
        due = [
            (name, moment)
            for name, probe in self._probes.items()
            for moment in self._subject.moments_of(probe)
            if self._step(moment) == step and moment not in self._seen[name]
        ]
        if not due:
            return
        to_host = self._run.parallel.to_host
        settled = trained = to_host((params, model_state))
        if as_trained is not None:
            trained = to_host((params, as_trained))
        for name, moment in due:
            weights = trained if self._probes[name].as_trained else settled
            measured = self._program(name, weights)(*weights, *self._images[name])
            self._seen[name][moment] = {
                key: np.asarray(values).tolist() for key, values in measured.items()
            }

    def dump(self) -> dict[str, Any]:
        """All that was measured so far, for `load` in a later process."""
        return self._seen

    def load(self, seen: dict[str, Any]) -> None:
        """Resumes from what an earlier process has measured."""
        self._seen = seen

    def results(self, i: int) -> dict[str, Any]:
        """Records of seed number i, when all moments are over."""
        return {
            name: self._report(probe, self._seen[name], i)
            for name, probe in self._probes.items()
        }

    def _report(self, probe: Probe, seen: dict[str, Any], i: int) -> dict[str, Any]:
        if probe.report_of_all is not None:
            seeds = [_of_seed(seen, j) for j in range(len(self._run.seeds))]
            return probe.report_of_all(self._subject, seeds, i)
        report: Any = probe.report  # a probe has one or the other
        return report(self._subject, _of_seed(seen, i))

    def _step(self, moment: str) -> int:
        return round(share_done(moment) * self._run.total_steps)

    def _program(self, name: str, weights: tuple[Any, Any]) -> Any:
        if name not in self._programs:
            probe = self._probes[name]
            self._images[name] = images = _images_of(self._run, probe)
            self._programs[name] = Parallel().compile(
                probe.measure(self._subject),
                (SEEDS, SEEDS, *[DATA] * len(images)),
                (*weights, *images),
                seed_mode="loop",
                deterministic=self._run.train.deterministic,
                remat=self._run.saves_memory,
                impl=self._run.train.impl,
            )
        return self._programs[name]


def subject_of(run: Run) -> Subject:
    """The parts of a run that its probes may know."""
    return Subject(
        model=run.model,
        image_shape=run.dataset.image_shape,
        num_classes=run.dataset.num_classes,
        preprocess=run.augment.preprocess,
        forward=functools.partial(
            forward_eval, batch_statistics=run.eval.statistics == "batch"
        ),
        loss=run.loss,
        hyperparameters=run.hyperparameters,
        members=run.eval.members,
        snapshots=run.eval.snapshots,
    )


def _images_of(run: Run, probe: Probe) -> tuple[np.ndarray, ...]:
    """(images [M, B, H, W, C], labels [M, B], mask [M, B]) that a probe sees."""
    split = getattr(run.dataset, probe.split)
    num = min(len(split), probe.most_images)
    # Evenly spread: a folder of images is in the order of its classes.
    places = np.arange(num) * len(split) // num
    images, labels = split.read(places)
    size = num if probe.split == "train" else min(num, run.eval.batch_size)
    indices, mask = eval_batches(num, size)
    return images[indices], labels[indices].astype(np.int32), mask


def _of_seed(seen: dict[str, Any], i: int) -> dict[str, Any]:
    return {
        moment: {key: np.asarray(values[i], float) for key, values in of.items()}
        for moment, of in seen.items()
    }
