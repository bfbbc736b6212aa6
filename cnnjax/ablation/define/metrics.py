"""The numbers of one run that claims, tables and plots may name.

Add a metric: one line in `METRICS`. What a probe measures (see `cnnjax/probes/`)
lies in `result.json` under `probes`.
"""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Metric:
    """A number of one run that claims and tables may name.

    Attributes:
      title: how tables and plots call it.
      unit: '%' of rates in [0, 100], 'points' of their differences, others such as
        'ms', or '' where the number has none.
      path: where `result.json` keeps it.
      minus: where it keeps what is subtracted; () for nothing.
      factor: from the unit of `result.json` to this one.
      of_groups: whether the first of several seeds alone has it, for all of them.
    """

    title: str
    unit: str
    path: tuple[str, ...]
    minus: tuple[str, ...] = ()
    factor: float = 1.0
    of_groups: bool = False


# The columns of results.csv behind the metrics, from `result.json` and its `cost`. Axes
# are columns as well, so none has a name of these.
FACTS = (
    *("config_hash", "data_fingerprint", "num_params", "multiply_adds"),
    *("step", "epochs"),
)
COST_KEYS = (
    "compile_seconds",
    "run_seconds",
    "images_per_second",
    "step_seconds",
    "memory_bytes",
)

# Share of the runs of an arm that failed to train, by the rule of the definition: the
# one metric that no run measures.
FAILED = "failed"

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
    "generalization_gap": Metric(
        "generalization gap",
        "points",
        ("final", "test", "error"),
        minus=("final", "train", "error"),
    ),
    "layer_response": Metric(
        "standard deviation of layer responses",
        "",
        ("probes", "layer_responses", "mean"),
    ),
    "gradient_ratio": Metric(
        "gradient norm at initialisation, first / last convolution",
        "log10 ratio",
        ("probes", "gradient_norms", "ratio"),
    ),
    "lesion_increase": Metric(
        "increase of test error without one block",
        "points",
        ("probes", "lesion", "increase"),
    ),
    "sharpness": Metric(
        "largest eigenvalue of the Hessian, in lengths of filters",
        "decades",
        ("probes", "curvature", "sharpness"),
    ),
    "curvature": Metric(
        "largest eigenvalue of the Hessian",
        "decades",
        ("probes", "curvature", "curvature"),
    ),
    "likeness": Metric(
        "likeness of what goes into a block and comes out (CKA)",
        "",
        ("probes", "likeness", "mean"),
    ),
    "shifted_error": Metric(
        "test error on shifted images", "%", ("probes", "shift", "error")
    ),
    "running_error": Metric(
        "test error by running statistics", "%", ("probes", "statistics", "running")
    ),
    "batch_error": Metric(
        "test error by statistics of test images",
        "%",
        ("probes", "statistics", "batch"),
    ),
    "ensemble_error": Metric(
        "test error of the ensemble",
        "%",
        ("probes", "ensemble", "error"),
        of_groups=True,
    ),
    "optimizer_steps": Metric("optimizer steps", "", ("step",)),
    "step_milliseconds": Metric(
        "time of a step per seed", "ms", ("cost", "step_seconds"), factor=1e3
    ),
    "memory_mib": Metric(
        "memory of training per seed", "MiB", ("cost", "memory_bytes"), factor=2.0**-20
    ),
    FAILED: Metric("share of runs that failed to train", "%", (FAILED,)),
}

_BEFORE_TRAINING = ("gradient_ratio",)
_OF_TRAINING_IMAGES = (
    *("train_error", "train_loss", "layer_response"),
    *("sharpness", "curvature", "likeness"),
)


def needs_training(metric: str) -> bool:
    """Whether a metric says something only of runs that could train.

    The cost of a net, its gradients at initialisation and the share of runs that failed
    do not.
    """
    is_cost = METRICS[metric].path[0] in ("cost", "step")
    return not is_cost and metric not in (*_BEFORE_TRAINING, FAILED)


def is_held_out(metric: str) -> bool:
    """Whether a metric is about images that a net was not trained on."""
    return needs_training(metric) and metric not in _OF_TRAINING_IMAGES
