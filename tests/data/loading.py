"""Requests for tests: all images of a set in memory, none held out."""

from cnnjax.data.dataset import Dataset, load_dataset
from cnnjax.data.request import Request
from configs import base


def request(name: str, data_dir="", **changes) -> Request:
    """Section `data` with these changes."""
    section = dict(base.get_config().data)
    section |= {"num_validation": 0, "delivery": "resident"}
    return Request(**(section | {"name": name, "data_dir": str(data_dir)} | changes))


def load(name: str, data_dir="", **changes) -> Dataset:
    """The data set of a `request`."""
    return load_dataset(request(name, data_dir, **changes))
