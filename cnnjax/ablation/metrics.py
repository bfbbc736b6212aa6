"""The numbers of one run that claims, tables and plots may name.

Add a metric: one line in `METRICS`. What a probe measures (see `cnnjax/train/probes/`)
lies in `result.json` under `probes`.
"""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Metric:
    """A number of one run that claims and tables may name.

    Attributes:
      title: how tables and plots call it.
      unit: '%' or '' where the number has no unit.
      path: where `result.json` keeps it.
    """

    title: str
    unit: str
    path: tuple[str, ...]


METRICS: dict[str, Metric] = {
    "train_error": Metric("training error", "%", ("final", "train", "error")),
    "train_loss": Metric("training loss", "", ("final", "train", "loss")),
    "validation_error": Metric(
        "validation error", "%", ("final", "validation", "error")
    ),
    "validation_loss": Metric("validation loss", "", ("final", "validation", "loss")),
    "test_error": Metric("test error", "%", ("final", "test", "error")),
    "test_loss": Metric("test loss", "", ("final", "test", "loss")),
    "best_validation_error": Metric(
        "lowest validation error", "%", ("best", "validation_error")
    ),
    "best_test_error": Metric(
        "test error at the best validation error", "%", ("best", "test", "error")
    ),
}
