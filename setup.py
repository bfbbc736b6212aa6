"""The packages of a wheel, with the recipes inside; the rest is in pyproject.toml."""

from setuptools import find_packages, setup

setup(
    packages=[
        *find_packages(include=["cnnjax*"]),
        "cnnjax._configs",
        "cnnjax._configs.ablations",
    ],
    package_dir={
        "cnnjax._configs": "configs",
        "cnnjax._configs.ablations": "configs/ablations",
    },
)
