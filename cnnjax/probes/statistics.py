"""Test error of one training under two statistics of batch norm.

Running ones, and those of the test images themselves in groups of as many as share
statistics in training: a net that does well by the second and badly by the first has
learned, and suffers from the change between training and test. With
`config.eval.statistics='precise'` the final test error is the third. Errors are those
of at most 2,000 test images, evenly spread; images beyond the last whole group are left
out, and images that fill up the last batch take part in its statistics.

Source: Wu & Johnson 2021, arXiv 2105.07576, sections 3 and 4.
"""

from cnnjax.layers.norm import norm_of
from cnnjax.probes.probe import Probe, Subject, count_errors, number


def _measure(subject: Subject):
    norm = norm_of(subject.model)
    wanted = norm.examples_per_statistic if norm else None

    def measure(params, model_state, images, labels, mask):
        def error(by_batch, images, labels, mask):
            def forward(x):
                return subject.forward(
                    subject.model, params, model_state, x, batch_statistics=by_batch
                )

            wrong = count_errors(subject, forward, labels, mask, images)
            return 100 * wrong / mask.sum()

        size = min(wanted or labels.shape[1], labels.shape[1])
        whole = labels.shape[1] // size * size

        def grouped(x):
            return x[:, :whole].reshape(-1, size, *x.shape[2:])

        return {
            "running": error(False, images, labels, mask),
            "batch": error(True, grouped(images), grouped(labels), grouped(mask)),
        }

    return measure


def _report(subject: Subject, measured):
    errors = {name: number(float(error)) for name, error in measured["end"].items()}
    return errors | {"profiles": {}}


STATISTICS = Probe(
    split="test",
    most_images=2000,
    moments=("end",),
    measure=_measure,
    report=_report,
    as_trained=True,
)
