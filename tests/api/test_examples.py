"""Every public name has an example that runs, and works from any folder."""

import doctest
import inspect

import pytest

import cnnjax
from tests.slow import slow_but

FUNCTIONS = [name for name in cnnjax.__all__ if callable(getattr(cnnjax, name))]
# These train; the others follow within a second.
TRAINING = {"train", "ablate", "load_run", "load_export", "read_results"}


def examples(name):
    found = doctest.DocTestFinder(recurse=False).find(getattr(cnnjax, name), name)
    return [test for test in found if test.examples]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("examples")


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_function_is_typed_and_has_an_example(name):
    assert examples(name), f"cnnjax.{name} has no example"
    signature = inspect.signature(getattr(cnnjax, name))
    for parameter in signature.parameters.values():
        assert parameter.annotation is not parameter.empty, f"{name}: {parameter}"
    assert signature.return_annotation is not signature.empty, name


@pytest.mark.parametrize("name", slow_but(set(FUNCTIONS) - TRAINING, sorted(FUNCTIONS)))
def test_the_examples_run(name, folder, monkeypatch):
    monkeypatch.chdir(folder)
    if name in TRAINING - {"train", "ablate"} and not (folder / "runs/mlp").exists():
        run("train")
    run(name)


def run(name):
    for test in examples(name):
        runner = doctest.DocTestRunner(verbose=False)
        assert runner.run(test).failed == 0, name
