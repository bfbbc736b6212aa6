"""Nets of several families, with random layers, give the numbers of one device."""

import pytest

from tests.run.laid_out import MODES, assert_close, cached, train
from tests.run.tiny import tiny_run

NETS = {
    "scanned residual blocks with squeeze-excite and dropout": (
        "resnet20_cifar",
        {
            "depth": 8,
            "widths": (4,),
            "scan_blocks": True,
            "remat": "block",
            "squeeze_excite": True,
            "se_reduction": 2,
            "block_dropout_rate": 0.2,
        },
    ),
    "concatenation with dropout": (
        "densenet40_12_cifar",
        {"depth": 7, "growth_rate": 4, "stem_width": 4, "dropout_rate": 0.2},
    ),
    "pre-activation with stochastic depth": (
        "preact_resnet110_cifar",
        {"depth": 4, "widths": (4,), "stochastic_depth_rate": 0.3},
    ),
}
# All with -m slow: compiling takes up to half a minute.
QUICK = {
    ("pre-activation with stochastic depth", "jit"),
}


def run_of(name, layout="seed=1", mode="jit"):
    model, arguments = NETS[name]
    return tiny_run(
        model,
        arguments,
        parallel__layout=layout,
        parallel__mode=mode,
        norm__examples_per_statistic=4,
        train__batch_size=16,
        data__num_train=40,
        data__image_size=8,
        augment__crop_pad=1,
        schedule__learning_rate=0.02,
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "mode"),
    [
        pytest.param(n, m, marks=[pytest.mark.slow] if (n, m) not in QUICK else [])
        for n in NETS
        for m in MODES
    ],
)
def test_a_net_on_four_devices(name, mode):
    assert_close(train(run_of(name, "data=4", mode)), cached(run_of, name))
