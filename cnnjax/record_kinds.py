"""What each record of a work folder must hold, as `docs/design.md` describes it.

Files of earlier versions fit as well, so few fields are needed. What a reader needs
beyond that it checks itself.
"""

import re
from typing import Any, Final

from cnnjax.errors import shown
from cnnjax.schema import (
    MOST_WHOLE,
    Anything,
    Flag,
    Items,
    Kind,
    Maybe,
    Name,
    Number,
    Object,
    Table,
    Text,
)

REAL = Number()
COUNT = Number(0, MOST_WHOLE, whole=True)
SEED = Number(0, 2**31 - 1, whole=True)
AMOUNT = Number(0)  # seconds, epochs and the like
# Of a net that diverged it may be NaN or infinite.
LOSS = Number(0, non_finite=True)
PERCENT = Number(0, 100)
SHORT = Text(most=1000)
SPLITS = ("train", "validation", "test")


class _Percent(Number):
    """An error rate; NaN where none could be computed."""

    def sift(self, value: Any, at: str, flaws: list[str]) -> Any:
        if isinstance(value, float) and value != value:
            return value
        return super().sift(value, at, flaws)


ERROR_RATE: Final[Kind] = Maybe(_Percent(0, 100))

# -- result.json -----------------------------------------------------------------------


def _as_many(profile: dict[str, Any]) -> str | None:
    lengths = {len(profile[key]) for key in ("labels", "positions", "values")}
    return (
        "has not as many labels as positions and values" if len(lengths) > 1 else None
    )


PROFILE = Object(
    needs={
        "axes": Items(SHORT, least=2, most=2),
        "labels": Items(Anything()),
        "positions": Items(REAL),
        "values": Items(Maybe(REAL)),
    },
    agrees=_as_many,
)
PROBE = Object(
    may={"profiles": Table(PROFILE, key=SHORT)}, others=Maybe(Number(non_finite=True))
)
EVALUATION = Object(
    may={
        "count": COUNT,
        "loss": Maybe(LOSS),
        "error": ERROR_RATE,
        "top5_error": ERROR_RATE,
        "per_class_accuracy": Items(Maybe(PERCENT)),
    }
)


def _done_or_not(result: dict[str, Any]) -> str | None:
    both = result["status"] == "done" and result.get("crashed")
    return "is of a run that is done and that crashed" if both else None


COMMITS = Items(
    Object(
        needs={"commit": Maybe(SHORT), "step": COUNT},
        may={"processor": SHORT, "devices": Items(SHORT)},
    ),
    most=10_000,
)
RESULT = Object(
    needs={"status": Text(of=("done", "failed"))},
    may={
        "arm": SHORT,
        "seed": SEED,
        "reason": Maybe(Text()),
        "crashed": Flag(),
        "step": COUNT,
        "epochs": AMOUNT,
        "evaluated": Object(
            needs={"weights": Text(of=("raw", "ema")), "statistics": Maybe(SHORT)},
            may={"views": SHORT},
        ),
        "final": Maybe(Table(EVALUATION)),
        "best": Maybe(
            Object(
                needs={"step": COUNT, "test": EVALUATION},
                may={
                    "validation_error": ERROR_RATE,
                    "validation_statistics": Maybe(SHORT),
                },
            )
        ),
        "cost": Maybe(Object(others=Maybe(AMOUNT))),
        "probes": Maybe(Table(PROBE, key=Name("probe"))),
        "num_params": COUNT,
        "multiply_adds": COUNT,
        "config_hash": SHORT,
        "data_fingerprint": SHORT,
        "commits": COMMITS,
        "metrics_digest": Maybe(SHORT),
        "digest": SHORT,
    },
    agrees=_done_or_not,
)

# -- metrics.jsonl ---------------------------------------------------------------------

METRICS_ROW = Object(
    needs={"step": COUNT},
    may={
        "kind": Text(of=("train", "eval")),
        "split": Text(of=SPLITS),
        "epoch": AMOUNT,
        "count": COUNT,
        "loss": Maybe(LOSS),
        "error": ERROR_RATE,
        "top5_error": ERROR_RATE,
        "grad_norm": LOSS,
        "learning_rate": Number(non_finite=True),
    },
)

# -- plan.json -------------------------------------------------------------------------


# What may stand behind the name of its arm in the name of a cell.
_BELOW_ARM = re.compile(r"(/fold-\d+)?(/seeds-\d+)?")


def _cells_of_arm(arm: dict[str, Any]) -> str | None:
    """The folder of a cell is that of its arm, or one below; each run counts once."""
    names, runs = set(), set()
    for cell in arm["cells"]:
        name, fold = cell["name"], cell["fold"]
        rest = name.removeprefix(arm["name"])
        if rest == name or not _BELOW_ARM.fullmatch(rest):
            return f"has a cell {shown(name)}, which is no folder of this arm"
        if name in names:
            return f"has two cells {shown(name)}"
        names.add(name)
        for seed in cell["seeds"]:
            if (fold, seed) in runs:
                of_fold = "" if fold is None else f" of fold {fold}"
                return f"has seed {seed}{of_fold} twice"
            runs.add((fold, seed))
    return None


CELL = Object(
    needs={
        "name": SHORT,
        "seeds": Items(SEED, least=1, most=10_000),
        "fold": Maybe(COUNT),
        "config_hash": SHORT,
        "data_hash": SHORT,
    }
)
ARM = Object(
    needs={
        "name": Name("arm"),
        "axes": Table(SHORT, key=Name("axis")),
        "cells": Items(CELL, least=1),
        "num_params": COUNT,
        "multiply_adds": COUNT,
        "steps": COUNT,
        "epochs": AMOUNT,
    },
    may={"starts_from": Name("arm")},
    agrees=_cells_of_arm,
)


def _names_differ(plan: dict[str, Any]) -> str | None:
    names = [arm["name"] for arm in plan["arms"]]
    return None if len(set(names)) == len(names) else "has two arms of one name"


PLAN = Object(
    needs={
        "arms": Items(ARM, least=1),
        "spec": Object(needs={"ablation": Object(), "scale": SHORT}),
        "seeds": Items(SEED, least=1),
    },
    may={
        "ablation": Name("ablation"),
        "scale": Name("scale"),
        "recipe": SHORT,
        "created": SHORT,
        "sequential": Flag(),
    },
    agrees=_names_differ,
)

# -- the other files of a cell ---------------------------------------------------------

SEEDS = Object(needs={"first": SEED, "count": Number(1, 10_000, whole=True)})
# Sections of keys; their values are checked by what is built from them.
CONFIG = Object(
    others=Table(Anything()),
    may={"seeds": SEEDS},
)
# That of a run that can be started: an old one may lack further sections.
WHOLE_CONFIG = Object(
    needs={
        "model": Object(needs={"name": SHORT}),
        "data": Object(needs={"name": SHORT}),
        "train": Object(
            needs={"batch_size": COUNT}, may={"epochs": AMOUNT, "steps": COUNT}
        ),
        "seeds": SEEDS,
    },
    may={"augment": Object(needs={"standardize": SHORT})},
    others=Table(Anything()),
)
PROVENANCE = Object(
    needs={
        "data": Object(
            needs={"fingerprint": SHORT},
            may={
                "name": SHORT,
                "note": Text(),
                "num_train": COUNT,
                "num_validation": COUNT,
                "num_test": COUNT,
            },
        )
    },
    may={
        **dict.fromkeys(("created", "python", "processor", "platform"), SHORT),
        "command": Text(),
        "origin": Name("published report"),
        "start": Object(
            needs={"digest": SHORT, "weights": SHORT}, may={"outcomes": Table(SHORT)}
        ),
        "git_commit": Maybe(SHORT),
        "commits": COMMITS,
        "packages": Table(Maybe(SHORT)),
        "devices": Items(SHORT),
        "onednn": Flag(),
        "num_cpus": Maybe(COUNT),
        "layout": Text(),
    },
)
COUNTS = Items(COUNT)
DATA = Object(
    needs={"name": SHORT, "fingerprint": SHORT, "class_names": Items(Text())},
    may={
        "image_shape": Items(COUNT, least=3, most=3),
        "found": Table(COUNTS),
        "splits": Table(Object(needs={"from": SHORT, "images_per_class": COUNTS})),
        "remarks": Items(Text()),
    },
)
# Which process it is; `process.is_running` judges it.
_PROCESS: Final[dict[str, Kind]] = {
    "host": SHORT,
    "pid": Number(1, 2**31 - 1, whole=True),
    "born": Maybe(REAL),
    "boot": Maybe(SHORT),
    "pid_space": Maybe(COUNT),
}
PROGRESS = Object(
    may={
        **_PROCESS,
        "status": SHORT,
        "reason": Text(),
        "updated": AMOUNT,
        "step": COUNT,
        "total_steps": COUNT,
        "loss": LOSS,
        "seconds_per_step": Number(0, 1e9),  # thirty years
        "peak_memory_bytes": COUNT,
        "slurm_job": SHORT,
        "slurm_restarts": SHORT,
    }
)
JOBS = Object(
    needs={
        "launcher": Text(of=("", "local", "slurm")),
        "command": Items(Text()),
        "cells": Table(
            Object(
                # A number of the system or of SLURM.
                needs={"job": Text(100, like=r"[\w+.-]*")},
                may=_PROCESS
                | {"attempt": Number(1, 1000, whole=True)}
                | {"slot": COUNT, "key": Text(like="[0-9a-f]{16}")}
                | {"log": Text(1000, like=r"[^/\0]+_log\.out")},
            )
        ),
    }
)

# What came out when the weights of a run were evaluated again.
OUTCOMES = EXACT, CLOSE, DIFFERENT, UNVERIFIED = (
    "equal",
    "within the tolerance",
    "different",
    "not verified",
)
VERIFIED = Object(
    needs={
        "created": SHORT,
        "points": AMOUNT,
        "share": AMOUNT,
        "runs": Items(
            Object(
                needs={
                    "cell": SHORT,
                    "seed": SEED,
                    "digest": SHORT,
                    "outcome": Text(of=OUTCOMES),
                    "detail": SHORT,
                }
            )
        ),
    },
    may={"git_commit": Maybe(SHORT)},
)
_REPORT = ("results.csv", "report.html", "report.md")
# What a run, and an ablation, write beside the file that marks their folder, see
# `records.refuse_foreign`: none of it ever replaces a file of somebody else.
FILES_OF_RUN: Final[dict[str, Kind | None]] = {
    "provenance.json": PROVENANCE,
    "data.json": DATA,
    "preprocessing.json": Object(
        needs={"class_names": Items(Text()), "preprocessing": Object()}
    ),
    "progress.json": Object(needs={"status": SHORT, "updated": AMOUNT}),
    "verified.json": VERIFIED,
    **dict.fromkeys(("statistics.safetensors", "crash.txt", *_REPORT)),
}
FOLDERS_OF_RUN: Final = ("checkpoints", "plots")  # and one for each seed
FILES_OF_ABLATION: Final[dict[str, Kind | None]] = {
    "verified.json": VERIFIED,
    **dict.fromkeys(_REPORT),
}
FOLDERS_OF_ABLATION: Final = ("launcher", "plots")  # and those of the cells
# Of the atlas: ablation -> why it ended early.
TROUBLES = Table(Text(), key=Name("ablation"))

# -- checkpoints -----------------------------------------------------------------------


def _one_a_seed(loop: dict[str, Any]) -> str | None:
    known = [loop[key] for key in ("best_error", "best_step", "failed_at", "last_good")]
    same = len({len(values) for values in known}) == 1
    return None if same else "has not one value a seed"


_PER_SEED = Items(Number(non_finite=True))
LOOP = Object(
    needs={
        "best_error": Items(Number(0, non_finite=True), least=1),
        "best_step": Items(COUNT, least=1),
        "failed_at": Items(Number(-1, MOST_WHOLE, whole=True), least=1),
        "last_good": Items(Text(), least=1),
        "pending": Table(Items(_PER_SEED, least=2, most=2)),
        "run_seconds": AMOUNT,
        "compile_seconds": AMOUNT,
        "step_seconds": Items(AMOUNT),
        "probes": Table(Table(Table(Anything()))),
    },
    agrees=_one_a_seed,
)


def _all_seeds(checkpoint: dict[str, Any]) -> str | None:
    seeds = checkpoint["config"]["seeds"]["count"]
    fits = len(checkpoint["loop"]["failed_at"]) == seeds
    return None if fits else f"has not the values of {seeds} seeds"


CHECKPOINT = Object(
    needs={"config": WHOLE_CONFIG, "data_fingerprint": SHORT, "loop": LOOP},
    may={"arm": SHORT, "config_hash": SHORT, "step": COUNT, "commits": COMMITS},
    agrees=_all_seeds,
)
