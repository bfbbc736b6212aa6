"""Wrong flags, recipes and config values: one sentence each, and nothing is started."""

import os
import re
import shlex
import subprocess
import sys

import pytest

from tests.programs import ROOT, Ended
from tests.slow import slow

DIGITS = "train --config=resnet_digits"
SMOKE = "ablate --scale=smoke"

# Command line, then words of the message: what was given, and what is allowed or
# where to change it.
FLAGS = [
    ("train --confg=resnet_digits", "--confg", "did you mean --config?"),
    (f"{DIGITS} --sedes=2", "--sedes", "did you mean --seeds?"),
    ("train resnet_digits", "'resnet_digits'", "--name=value"),
    ("train", "--config is missing", "a recipe of configs/"),
    ("train --config", "unknown config ''", "resnet_digits"),
    ("train --config=resnet_digit", "'resnet_digit'", "did you mean 'resnet_digits'"),
    ("train --config=gone/mlp.py", "'gone/mlp.py'", "mlp_mnist"),
    ("train --config.model.depth=8 --config=resnet_digits", "model.depth", "first"),
    (f"{DIGITS} --seeds=-1", "--seeds", "'-1'", "positive"),
    (f"{DIGITS} --seeds=two", "--seeds", "'two'", "positive integer"),
    ("ablate --ablation=degradatoin", "'degradatoin'", "mean 'degradation'"),
    ("train --config=resnet_digits --config=mlp_mnist", "mlp_mnist", "the second"),
    (f"{DIGITS} --set=train.steps=3", "--set", "--config.KEY=VALUE"),
    ("ablate --ablation=gone/mine.py", "no file 'gone/mine.py' seen from", "here"),
    ("atlas --only=my/degradation.py", "my/degradation.py", "ablate --ablation="),
    ("atlas --scale=laptpo", "'laptpo'", "mean 'laptop'", "--scale"),
    (f"{SMOKE} --folds=-1", "--folds", "'-1'", "non-negative"),
    (f"{SMOKE} --seeds=auto --max_seeds=0", "--max_seeds", "'0'", "positive"),
    (f"{SMOKE} --budget_minutes=3", "--budget_minutes", "--seeds=auto"),
    ("ablate --scale=laptpo", "'laptpo'", "mean 'laptop'", "paper", "smoke"),
    (f"{SMOKE} --seeds=0", "--seeds=0", "positive integer, or auto"),
    (f"{SMOKE} --jobs=-1", "--jobs", "'-1'", "non-negative"),
    (f"{SMOKE} --dry_run=maybe", "--dry_run", "'maybe'", "true or false"),
    (f"{SMOKE} --config.model.depth=8", "--config.model.depth", "--set=model.depth="),
    (f"{SMOKE} --set=train.epochs", "--set=train.epochs has no value"),
    (f"{SMOKE} --set=train.epoch=4", "'train.epoch'", "mean train.epochs"),
    (f"{SMOKE} --set=train.epochs=lots", "config.train.epochs", "number", "'lots'"),
    (f"{SMOKE} --set=model.depth=8", "axis 'depth'", "degradation.py"),
    (f"{SMOKE} --set=seeds.count=3", "seeds.count", "--seeds"),
    (f"{SMOKE} --set=norm.kind=bacth", "'bacth'", "mean 'batch'", "config.norm.kind"),
    ("prepare --dataset=cifar11", "'cifar11'", "cifar10", "--dataset"),
    ("prepare cifar10", "'cifar10'", "--name=value"),
    ("evaluate", "--workdir is missing"),
    ("evaluate --workdir=. --weights=bset", "'bset'", "mean 'best'", "--weights"),
    ("evaluate --workdir=. --statistics=exact", "'exact'", "precise", "--statistics"),
    ("export --out=a.pth", "--workdir is missing"),
    ("export --workdir=.", "--out is missing"),
    ("export --workdir=. --out=a.pth --format=onnx", "'onnx'", "orbax", "--format"),
    ("export --workdir=. --out=a.pth", "'a.pth'", ".safetensors", "--out"),
    ("export --workdir=. --out=a.safetensors", "holds no run", "--workdir"),
    ("report", "--workdir is missing"),
    ("report --workdir=gone", "gone holds no run", "no such folder seen from"),
    ("report --from=.", ". holds no records of published runs", "no records.jsonl"),
    ("ablate --resume_from=gone", "gone holds no records", "no such folder"),
    ("publish --workdir=.", ". holds no ablation", "no plan.json"),
    ("models --pattern=vgg17*", "'vgg17*'", "vgg16", "./launch.sh models"),
    ("models --format=yaml", "'yaml'", "json", "--format"),
    ("profile", "--model is missing", "./launch.sh models"),
    ("profile --model=alexnett", "'alexnett'", "mean 'alexnet'", "launch.sh models"),
    ("profile --model=mlp --set=width=3", "'width'", "mean 'widths'"),
    ("profile --model=mlp --norm=bacth", "'bacth'", "mean 'batch'"),
    ("profile --model=mlp --num_classes=1", "at least 2 classes, not 1"),
    ("profile --model=vgg16 --input_size=16", "nothing is left", "2x2 window"),
    ("profile --model=alexnet_published --input_size=224", "conv1", "223 and 227"),
    ("profile --model=mlp --input_size=-1", "--input_size", "'-1'"),
    ("profile --model=resnet18 --set=squeeze_excite=false", "False", "'false'"),
    ("profile --model=mlp --set=name=lenet5", "--set=name", "--model"),
    ("profile --compare=vgg16 --input_size=64", "--compare", "--input_size"),
    ("profile --compare=vgg16 --out=/proc/none", "/proc/none", "--out"),
    ("profile --compare=lenet5", "lenet5", "no", "ImageNet"),
]

# Change of the config of a net on the digits, then as above.
VALUES = [
    ("model.dept=20", "'model.dept'", "mean model.depth", "configs/base.py"),
    ("modle.depth=20", "'modle.depth'", "mean model.depth"),
    ("model=3", "'model'", "model.name"),
    # Types.
    ("train.batch_size=big", "train.batch_size", "an integer", "64", "'big'"),
    ("train.batch_size=1.5", "train.batch_size", "an integer", "'1.5'"),
    ("norm.examples_per_statistic=half", "an integer", "'half'"),
    ("model.residual=maybe", "model.residual", "a boolean", "'maybe'"),
    ("model.widths=8,wide", "model.widths", "integers", "(8, 16, 32)", "wide"),
    ("model.widths=(8,0.5,9)", "model.widths", "integers", "0.5"),
    # Ranges.
    ("train.batch_size=0", "train.batch_size is 0", "at least 1"),
    ("train.epochs=nan", "train.epochs cannot be nan", "configs/base.py"),
    ("train.epochs=inf", "train.epochs is inf", "finite"),
    ("seeds.count=0", "seeds.count is 0", "from 1"),
    ("optimizer.momentum=1.5", "optimizer.momentum is 1.5", "from 0"),
    ("optimizer.weight_decay=-1", "optimizer.weight_decay is -1.0", "at least 0"),
    ("schedule.learning_rate=0", "schedule.learning_rate is 0.0"),
    ("loss.label_smoothing=1", "loss.label_smoothing is 1.0", "0.999"),
    ("norm.epsilon=-1", "norm.epsilon", "-1.0", "at least 0"),
    ("eval.batch_size=0", "eval.batch_size is 0", "at least 1"),
    ("checkpoint.keep_last=0", "checkpoint.keep_last is 0", "at least 1"),
    ("log.every_epochs=0", "log.every_epochs is 0"),
    ("augment.crop_pad=-1", "augment.crop_pad=-1", "0 (off) to 8"),
    # Names.
    ("data.name=digit", "'digit'", "mean 'digits'", "cifar10", "config.data.name"),
    ("model.name=resnet21_cifar", "'resnet21_cifar'", "resnet20_cifar"),
    ("model.act=rleu", "'rleu'", "mean 'relu'", "config.model.act"),
    ("model.placement=before", "'before'", "post", "config.model.placement"),
    ("model.shortcut=D", "'D'", "A, B, C", "config.model.shortcut"),
    ("model.kernel_init=he", "'he'", "he_normal", "config.model.kernel_init"),
    ("norm.kind=bacth", "'bacth'", "mean 'batch'", "config.norm.kind"),
    ("optimizer.name=sdg", "'sdg'", "mean 'sgd'", "config.optimizer.name"),
    ("schedule.kind=cosin", "'cosin'", "mean 'cosine'", "config.schedule.kind"),
    ("train.dtype=float16", "'float16'", "bfloat16", "config.train.dtype"),
    ("train.seed_mode=fast", "'fast'", "auto, loop, vmap"),
    ("parallel.mode=pjit", "'pjit'", "jit, pmap, shard_map", "--parallel.mode"),
    ("parallel.layout=seed:2", "'seed:2'", "'seed=4,data=2'", "--parallel.layout"),
    ("seeds.count=5 parallel.layout=seed=3", "5 seeds", "3 groups", "3 and 6", "1, 5"),
    ("parallel.layout=data=7", "batch of 64", "7 devices", "63 and 70", "8, 16, 32"),
    ("parallel.layout=data=8", "takes 8 devices", "there are 1"),
    ("parallel.devices=9", "devices is 9", "finds 1"),
    ("parallel.mode=pmap parallel.shard_state=True", "shard_state", "'pmap'"),
    ("train.microbatches=2", "groups of 64", "micro-batches of 32"),
    ("train.microbatches=3", "64", "3 micro-batches", "63 and 66"),
    ("train.impl=fast", "'fast'", "auto, lax, xla"),
    ("eval.statistics=exact", "'exact'", "precise, running"),
    ("augment.standardize=pixels", "'pixels'", "pixel_mean"),
    # Values that do not fit together.
    ("model.depth=21", "depth 21", "20 and 26", "config.model.depth"),
    ("train.epochs=0 train.steps=0", "config.train.steps", "config.train.epochs"),
    ("train.steps=None", "config.train.steps cannot be None", "configs/base.py"),
    ("train.epochs=2 train.steps=9", "steps is 9", "epochs is 2", "exactly one"),
    ("schedule.boundaries=0.75,0.5", "schedule.boundaries (0.75, 0.5)", "increase"),
    ("norm.examples_per_statistic=24", "is 24", "64", "48"),
    (
        "norm.kind=group norm.num_groups=4 norm.channels_per_group=2",
        "config.norm.num_groups (got 4)",
        "config.norm.channels_per_group (got 2)",
    ),
    ("norm.kind=group norm.num_groups=3", "num_groups = 3", "8 channels", "4"),
    ("eval.weights=ema", "config.eval.weights is 'ema'", "config.train.ema_decay is 0"),
    ("data.num_train=5000", "data.num_train=5000", "1297 images left"),
    ("model.name=lenet5", "lenet5"),
]

# Change of a recipe, then as above.
RECIPES = {
    "syntax": ("def get_config(:\n    pass\n", "SyntaxError in line 1"),
    "no function": ("config = 3\n", "no function get_config()"),
    "wrong return": ("def get_config():\n    return {}\n", "a dict, not a ConfigDict"),
    "missing import": ("import no_such_thing\n", "in line 1", "no_such_thing"),
    "stale key": (
        "from configs import base\n\n\ndef get_config():\n"
        "    config = base.get_config()\n"
        "    config.train.batchsize = 64\n"
        "    return config\n",
        "in line 6",
        "batchsize",
        '"batch_size"',
    ),
    "wrong type": (
        "from configs import base\n\n\ndef get_config():\n"
        "    config = base.get_config()\n"
        "    config.train.batch_size = 'many'\n"
        "    return config\n",
        "in line 6",
        "batch_size",
        "many",
    ),
    "lacks a section": (
        "import ml_collections\n\n\ndef get_config():\n"
        "    return ml_collections.ConfigDict({'seeds': {'first': 0, 'count': 1}})\n",
        "lacks the section 'data'",
        "configs/base.py",
    ),
}


def assert_one_sentence(ended, *words):
    """Exit code 2, and on the error stream one sentence with all of the words."""
    assert ended.code == 2, ended
    assert ended.err.startswith("error: "), ended.err
    assert ended.err.count("\n") == 1, ended.err
    assert not re.search(r"\. [A-Z]|Traceback", ended.err)
    for word in words:
        assert word in ended.err


@pytest.mark.parametrize(("line", "words"), [(c[0], c[1:]) for c in FLAGS])
def test_flag(programs, here, line, words):
    ended = programs.run(here, *shlex.split(line))
    assert_one_sentence(ended, *words)
    assert ended.out == ""
    assert os.listdir(here) == []


@pytest.mark.parametrize(("changes", "words"), [(c[0], c[1:]) for c in VALUES])
def test_config_value(programs, here, changes, words):
    changes = [f"--config.{change}" for change in changes.split()]
    ended = programs.run(here, *DIGITS.split(), *changes)
    assert_one_sentence(ended, *words)
    assert ended.out == ""
    assert os.listdir(here) == []


@pytest.mark.parametrize("name", RECIPES)
def test_recipe(programs, here, name):
    text, *words = RECIPES[name]
    (here / "mine.py").write_text(text)
    ended = programs.run(here, "train", "--config=mine.py")
    assert_one_sentence(ended, *words)
    assert ended.out == ""
    assert os.listdir(here) == ["mine.py"]


def run_alone(here, line, **variables):
    """Runs `python -m experiments.VERB ...` in its own process."""
    verb, *args = line.split()
    ended = subprocess.run(
        [sys.executable, "-P", "-m", f"experiments.{verb}", *args],
        cwd=here,
        env=os.environ | {"PYTHONPATH": str(ROOT)} | variables,
        capture_output=True,
        text=True,
    )
    return Ended(ended.returncode, ended.stdout, ended.stderr)


@pytest.mark.slow
def test_device_that_is_not_there(here):
    ended = run_alone(here, DIGITS, JAX_PLATFORMS="nonsense")
    assert_one_sentence(ended, "JAX_PLATFORMS='nonsense'", "CNNJAX_EXTRA")


@pytest.mark.parametrize(
    "line", ["train --confg=mlp", slow(f"{SMOKE} --set=x=1"), slow("report")]
)
def test_as_a_process_of_its_own(here, line):
    ended = run_alone(here, line)
    assert_one_sentence(ended)
    assert ended.out == ""


def test_the_server_shows_what_a_good_command_shows(programs, here):
    ended = programs.run(here, *SMOKE.split(), "--dry_run")
    assert (ended.code, ended.err) == (0, "")
    assert "residual-14" in ended.out
