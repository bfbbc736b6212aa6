"""A definition with arms that start from other arms, for tests."""

from cnnjax.ablation.define import Ablation, Axis, Paper, Scale, lower

YOSINSKI = Paper("Yosinski et al. 2014, arXiv 1411.1792")
WAY = Axis(
    "way",
    {
        "source": {"data.split_seed": 7},
        "scratch": {},
        "probe": {"starts_from": "source", "start.trains": "head"},
        "all": {"starts_from": "probe"},
    },
)


def get_ablation() -> Ablation:
    return Ablation(
        name="small_transfer",
        title="Transfer",
        question="Does transfer help?",
        source=YOSINSKI,
        axes=[WAY],
        arm_name="{way}",
        x_axis="way",
        metrics=["test_error"],
        claims=[lower("test_error", "all", than="scratch", source=YOSINSKI)],
        scales={
            "smoke": Scale(
                recipe="convnet_digits",
                seeds=2,
                overrides={
                    "model.widths": (4,),
                    "data.num_train": 128,
                    "train.epochs": 1.0,
                    "log.tensorboard": False,
                },
                note="digits",
            )
        },
    )
