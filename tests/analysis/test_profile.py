"""The layer table: sums against other counts, formats, and the programs around it."""

import csv
import io
import json
import math

import jax
import numpy as np
import pytest

from cnnjax.analysis.compare import LEGEND, accuracy, draw_bubbles
from cnnjax.analysis.complexity import model_multiply_adds
from cnnjax.analysis.features import features
from cnnjax.analysis.formats import thousands
from cnnjax.analysis.profile import STORED, profile_model
from cnnjax.analysis.profile_table import COLUMNS, render_profile
from cnnjax.errors import UserError
from cnnjax.models.registry import create_model, list_models, variant
from cnnjax.net.initialize import init_variables
from tests.models.entries import ARCHITECTURES
from tests.slow import slow, slow_but

# Table of Araujo et al. 2019 (Distill): fields of the last feature map.
PUBLISHED_FIELDS = {
    "alexnet": 195,
    "vgg16": 212,
    "mobilenet_v1": 315,
    "mobilenet_v2": 491,
    "resnet50_published": 483,
    "resnet101_published": 1027,
    "resnet152_published": 1507,
    "inception_v3": 1311,
    "inception_v4": 2071,
    "inception_resnet_v2": 3039,
}


# Quick to trace: with branches, with shortcuts, plain.
QUICK = ("googlenet_cifar", "lenet5_published", "resnet20_cifar", "vgg11_bn_cifar")


@pytest.fixture(scope="module", params=slow_but(QUICK, ARCHITECTURES))
def profiled(request):
    name = request.param
    return name, profile_model(create_model(name), variant(name).input_shape, name)


def test_the_sums_are_the_counts(profiled):
    name, profile = profiled
    entry, totals = variant(name), profile.totals()
    assert totals["params"] == entry.num_params
    assert totals["multiply_adds"] == entry.multiply_adds
    assert totals["multiply_adds"] == model_multiply_adds(
        create_model(name), entry.input_shape
    )
    for key, total in totals.items():
        assert sum(sums[key] for sums in profile.by_kind().values()) == total
    kept = sum(math.prod(r.output) for r in profile.layers if r.kind in STORED)
    assert totals["activation_bytes"] == 4 * kept


def test_every_format_has_every_row(profiled):
    _, profile = profiled
    record = json.loads(render_profile(profile, "json"))
    assert record["totals"] == profile.totals()
    assert len(record["layers"]) == len(profile.layers)
    table = list(csv.DictReader(io.StringIO(render_profile(profile, "csv"))))
    assert [row["layer"] for row in table] == [row.name for row in profile.layers]
    for form in ("text", "md"):
        shown = render_profile(profile, form)
        assert all(row.name in shown for row in profile.layers)
    assert len(COLUMNS) == len(table[0])


@pytest.mark.parametrize(
    "name",
    [
        # Deep ones take long to trace.
        slow(name) if field > 400 else name
        for name, field in PUBLISHED_FIELDS.items()
    ],
)
def test_published_receptive_fields(name):
    profile = profile_model(create_model(name), variant(name).input_shape)
    maps = [row for row in profile.layers if row.size and row.kind in STORED]
    # The last map of Inception nets joins branches: the widest counts, on each axis.
    axes = zip(*(row.receptive_field for row in maps), strict=True)
    assert tuple(map(max, axes)) == (PUBLISHED_FIELDS[name],) * 2


def test_heads_that_only_training_runs_have_a_row():
    net = profile_model(create_model("googlenet"), (224, 224, 3))
    skipped = [row for row in net.layers if not row.in_evaluation]
    assert len(skipped) == 2
    without = create_model("googlenet", auxiliary_heads=False)
    bare = profile_model(without, (224, 224, 3)).totals()
    assert bare["params"] == net.totals()["params"] - sum(r.params for r in skipped)
    assert bare["multiply_adds"] == net.totals()["multiply_adds"]


def test_features_by_name():
    model = create_model("resnet20_cifar", depth=8, widths=(2, 4, 8))
    variables = jax.tree.map(lambda v: v[0], init_variables(model, (16, 16, 3), (0,)))
    images = np.random.RandomState(0).standard_normal((2, 16, 16, 3))
    images = images.astype(np.float32)
    assert list(features(model, variables, images))[:2] == ["stem_conv", "stem_norm"]
    own = jax.jit(lambda v, x: features(model, v, x))(variables, images)
    assert own["stage3_block1"].shape == (2, 4, 4, 8)
    np.testing.assert_allclose(
        own["pool"], own["stage3_block1"].mean((1, 2)), rtol=1e-5, atol=1e-6
    )
    logits = model.apply(variables, images, train=False)
    np.testing.assert_allclose(own["head"], logits, rtol=1e-5, atol=1e-5)
    inner = features(model, variables, images, ["stage2_block1/conv1"])
    assert inner["stage2_block1/conv1"].shape == (2, 8, 8, 4)
    with pytest.raises(UserError, match="did you mean stage1_block1"):
        features(model, variables, images, ["stage1_block"])


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0, "0"), (0.0312, "0.031"), (3.27, "3.3"), (149.5, "150"), (37752.8, "37,753")],
)
def test_numbers_as_people_read_them(value, shown):
    assert thousands(value) == shown


def test_the_program_prints_one_json_object(programs, here):
    ended = programs.run(
        here, "profile", "--model=alexnet", "--input_size=227", "--format=json"
    )
    assert ended.code == 0, ended
    record = json.loads(ended.out)
    assert record["totals"]["params"] == 61_100_840
    assert record["layers"][0]["output"] == [56, 56, 64]


def test_the_program_takes_arguments_of_the_net(programs, here):
    ended = programs.run(
        here, "profile", "--model=mlp", "--set=widths=(5,)", "--norm=batch",
        "--num_classes=3", "--format=csv",
    )  # fmt: skip
    assert ended.code == 0, ended
    rows = list(csv.DictReader(io.StringIO(ended.out)))
    assert [row["kind"] for row in rows] == ["flatten", "dense", "norm", "dense"]
    assert [row["out C"] for row in rows[1:]] == ["5", "5", "3"]


def test_the_program_lists_models(programs, here):
    ended = programs.run(here, "models", "--pattern=vgg1*_bn,lenet5", "--format=csv")
    assert ended.code == 0, ended
    rows = {row["model"]: row for row in csv.DictReader(io.StringIO(ended.out))}
    assert rows["vgg16_bn"]["parameters"] == "138365992"
    assert rows["vgg16_bn"]["multiply-adds"] == "15470264320"
    assert set(rows) == {*list_models("vgg1*_bn"), "lenet5"}


def test_the_program_draws_a_comparison(programs, here):
    words = ("--compare=alexnet*,vgg16", "--out=pictures", "--format=csv")
    ended = programs.run(here, "profile", *words)
    assert ended.code == 0, ended
    assert (here / "pictures/complexity.png").read_bytes()[:4] == b"\x89PNG"
    assert "vgg16" in (here / "pictures/complexity.svg").read_text()


def test_published_accuracies_are_of_imagenet_alone():
    drawn = [name for name in list_models() if accuracy(name) is not None]
    assert len(drawn) > 10
    for name in drawn:
        assert variant(name).num_classes == 1000
        assert 30 < accuracy(name) < 90


def test_families_differ_in_colour_or_shape_and_nothing_is_cut_off():
    names = [name for name in list_models() if accuracy(name) is not None]
    figure = draw_bubbles(names)
    (ax,) = figure.axes
    families = ax.collections[: -len(LEGEND)]
    looks = {
        (tuple(c.get_facecolor()[0]), c.get_paths()[0].vertices.tobytes())
        for c in families
    }
    assert len(looks) == len(families) > 7
    box = ax.get_tightbbox()
    assert box.x0 >= 0
    assert box.x1 <= figure.bbox.x1
    assert box.y1 <= figure.bbox.y1
