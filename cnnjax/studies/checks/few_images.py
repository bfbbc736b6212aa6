"""A few images, learnt by heart; and the two modes of the net on the same images.

Source: Stanford CS231n, lecture on babysitting the learning process: without
regularisation a net must overfit a few images.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from cnnjax.devices.parallel import compile_program
from cnnjax.net.forward import forward_eval, forward_train
from cnnjax.studies.checks.finding import FAILED, PASSED, UNKNOWN, Finding, Subject
from cnnjax.training.loss import Loss
from cnnjax.training.state import TrainState
from cnnjax.training.step import make_train_step

NUM_IMAGES = 16
MOST_STEPS = 300
# A few images at the full rate from the first step throw some nets off.
WARM_UP = 20
# Until running statistics are those of the images: what is left of the first ones.
LEFT = 0.01
MOST_SETTLING = 1000
# Mean difference of probabilities between the modes; the variance of 16 images of one
# position differs by a fifteenth between its two definitions.
ALIKE = 0.1


def few_images(subject: Subject) -> tuple[Finding, Finding]:
    """Whether a few images are learnt by heart, and whether both modes agree on them.

    Without augmentation, label smoothing and weight decay, at the peak of the schedule
    after a short rise.
    """
    training = _Training(subject)
    learnt = training.learn()
    if not np.isfinite(training.loss):
        return learnt, Finding(UNKNOWN, "", "the training diverged")
    return learnt, training.compare_modes()


class _Training:
    """One training on a few images."""

    def __init__(self, subject: Subject):
        run = subject.run
        self.run, self.subject = run, subject
        images, self.targets = (
            part[:NUM_IMAGES] for part in (subject.floats, subject.targets)
        )
        self.images: Any = images
        step = make_train_step(
            run.model,
            run.optimizer,
            lambda key, images, labels: (images, self.targets),
            kind=Loss(run.loss.kind),
        )
        self.numbers = {
            section: dict(of) for section, of in run.hyperparameters.items()
        }
        self.numbers["loss"]["label_smoothing"] = np.float32(0)
        self.numbers["optimizer"]["weight_decay"] = np.float32(0)
        variables = dict(subject.variables)
        params = variables.pop("params")
        optimizer = run.optimizer.init(params)
        self.state = TrainState(
            step=jnp.int32(0),
            params=params,
            model_state=variables,
            opt_state=optimizer,
            ema=None,
        )
        self.batch = {
            "images": self.images,
            "labels": subject.labels[:NUM_IMAGES],
            "seed": np.int32(0),
        }
        example = (self.state, self.batch, np.float32(0), self.numbers)
        self.step = compile_program(step, example, impl=run.train.impl)
        self.loss = np.inf
        self.peak = float(np.max(run.schedule(np.arange(run.total_steps))))

    def advance(self, rate: float) -> int:
        """One step; gives how many images were wrong before it."""
        self.state, metrics = self.step(
            self.state, self.batch, np.float32(rate), self.numbers
        )
        self.loss = float(metrics["loss"][0])
        return int(metrics["errors"][0])

    def learn(self) -> Finding:
        """Trains until all images are right in two steps after another."""
        num, wrong, before = len(self.images), 0, 1
        for step in range(1, MOST_STEPS + 1):
            wrong = self.advance(self.peak * min(1.0, step / WARM_UP))
            number = f"{wrong} of {num} images wrong after {step} steps"
            if not np.isfinite(self.loss):
                why = "it diverges: lower the learning rate (find_lr shows which)"
                return Finding(FAILED, number, why)
            if wrong == before == 0:
                return Finding(PASSED, number)
            before = wrong
            if self.subject.seconds_left() < 0:
                return Finding(UNKNOWN, number, "the time was up: give more --seconds")
        why = "it cannot learn them: look at the learning rate, the loss and the labels"
        return Finding(FAILED, number, why)

    def compare_modes(self) -> Finding:
        """Probabilities of training and evaluation on the same images."""
        before = self.state.model_state.get("batch_stats")
        if before is None:
            return Finding(UNKNOWN, "", "the net keeps no statistics")
        key, state = jax.random.key(0), self.state
        # The statistics alone move: at once to those of these images, if they do.
        for _ in range(self._settling()):
            self.advance(0.0)
        model, model_state = self.run.model, self.state.model_state
        params = state.params

        def probabilities(params, model_state):
            trained, _, _ = forward_train(model, params, model_state, self.images, key)
            evaluated = forward_eval(model, params, model_state, self.images)
            return jax.nn.softmax(trained), jax.nn.softmax(evaluated)

        program = compile_program(
            probabilities, (params, model_state), impl=self.run.train.impl
        )
        trained, evaluated = program(params, model_state)
        apart = float(jnp.abs(trained - evaluated).sum(-1).mean() / 2)
        number = f"probabilities differ by {apart:.2g}"
        if apart > ALIKE:
            why = (
                "running statistics do not become those of the images (look at "
                "norm.momentum and train=), or dropout is strong"
            )
            return Finding(FAILED, number, why)
        return Finding(PASSED, number)

    def _settling(self) -> int:
        """Steps until running statistics have forgotten where they were."""
        momentum = self.run.config.norm.momentum
        if not 0 < momentum < 1:
            return 1
        return min(MOST_SETTLING, int(np.ceil(np.log(LEFT) / np.log(momentum))))
