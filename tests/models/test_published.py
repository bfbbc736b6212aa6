"""Published results stand beside the entries with a source, and are in range."""

import pytest

from cnnjax.models.registry import ALIASES, VARIANTS, variant
from cnnjax.models.variant import OF_TORCHVISION

WITH_RESULT = [name for name, entry in VARIANTS.items() if entry.published]


@pytest.mark.parametrize("name", WITH_RESULT)
def test_results_are_errors_in_percent(name):
    published = variant(name).published
    assert published.source
    assert published.data in ("ImageNet", "CIFAR-10", "MNIST")
    assert (published.data == "ImageNet") == (variant(name).num_classes == 1000)
    errors = [e for e in (published.top5_error, published.error) if e is not None]
    assert errors == sorted(errors)
    assert all(0 < error < 60 for error in errors)


def test_results_of_torchvisions_weights():
    pytest.importorskip("tests.peers", reason="reads torchvision's own table")
    models = pytest.importorskip("torchvision").models
    names = [n for n in WITH_RESULT if variant(n).published.source == OF_TORCHVISION]
    assert len(names) > 10
    for name in names:
        own = next(n for n in models.list_models(models) if ALIASES.get(n, n) == name)
        weights = models.get_model_weights(own).IMAGENET1K_V1
        metrics = weights.meta["_metrics"]["ImageNet-1K"]
        published = variant(name).published
        assert published.error == round(100 - metrics["acc@1"], 2), name
        assert published.top5_error == round(100 - metrics["acc@5"], 2), name
