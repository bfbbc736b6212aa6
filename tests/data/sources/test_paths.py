"""Paths in little memory, against plain lists; and what is kept of a listing."""

import os

import pytest

from cnnjax.data import array_cache
from cnnjax.data.sources import listing_cache
from cnnjax.data.sources.listing import list_images
from cnnjax.data.sources.listing_cache import listed_once
from cnnjax.data.sources.paths import Group, Paths

GROUPS = {
    "train/b": ["1.png", "é.jpg", os.fsdecode(b"\xe9.png")],
    "train/a": ["z.jpeg"],
    "train/a-b": ["a.png", "b.png"],
    "": ["loose.png"],
}
NESTED = GROUPS | {"train/a/deep": ["1.png"], "train/a/z.jpeg.d": ["1.png"]}


@pytest.mark.parametrize("groups", [GROUPS, NESTED])
def test_paths_are_those_that_were_given(groups):
    paths = Paths.of([Group.of(folder, names) for folder, names in groups.items()])
    want = [os.path.join(f, name) for f, names in groups.items() for name in names]
    assert len(paths) == len(want)
    assert list(paths) == want
    assert [paths[i] for i in range(len(want))] == want
    assert paths[-1] == want[-1]
    assert paths[1:3] == want[1:3]
    with pytest.raises(IndexError):
        paths[len(want)]
    assert Paths.joined([paths, paths]) == Paths.of(
        [Group.of(f, names) for f, names in [*groups.items(), *groups.items()]]
    )
    in_order = [os.path.join(f, n) for f, names in paths.in_order() for n in names]
    assert in_order == sorted(want)


# -- kept between starts ---------------------------------------------------------------


@pytest.fixture
def kept(tmp_path, monkeypatch):
    """A folder whose listing is kept, and how often it was listed."""
    monkeypatch.setenv("CNNJAX_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(listing_cache, "SETTLED_NS", -(10**18))
    for path in ("train/a/x.png", "train/b/y.PNG", "val/b/z.jpg", "val/1.txt"):
        (tmp_path / "set" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "set" / path).write_bytes(b"x")
    calls = []

    def counting(root, found):
        calls.append(root)
        return list_images(root, found)

    monkeypatch.setattr(listing_cache, "list_images", counting)
    return tmp_path / "set", calls


def as_listed(listing):
    labels = {pool: of_pool.tolist() for pool, of_pool in listing.labels.items()}
    return vars(listing) | {"labels": labels}


def test_a_folder_is_listed_once(kept):
    root, calls = kept
    first = listed_once(str(root))
    assert as_listed(listed_once(str(root))) == as_listed(first)
    assert as_listed(first) == as_listed(list_images(str(root)))
    assert len(calls) == 1


def add(root):
    (root / "train/a/new.png").write_bytes(b"x")


def remove(root):
    (root / "val/b/z.jpg").unlink()


def add_to_what_is_ignored(root):
    (root / "more").mkdir()


def rename(root):
    (root / "train/a/x.png").rename(root / "train/a/x2.png")


def replace(root):
    (root / "val").rename(root / "old")
    (root / "val/b").mkdir(parents=True)
    (root / "val/b/z.jpg").write_bytes(b"x")


@pytest.mark.parametrize(
    "change", [add, remove, rename, replace, add_to_what_is_ignored]
)
def test_a_folder_that_changed_is_listed_anew(kept, change):
    root, calls = kept
    listed_once(str(root))
    change(root)
    assert as_listed(listed_once(str(root))) == as_listed(list_images(str(root)))
    assert len(calls) == 2


def test_what_has_just_changed_or_has_links_is_not_kept(kept, monkeypatch):
    root, calls = kept
    monkeypatch.setattr(listing_cache, "SETTLED_NS", 10**12)
    listed_once(str(root))
    listed_once(str(root))
    assert len(calls) == 2
    monkeypatch.setattr(listing_cache, "SETTLED_NS", -(10**18))
    (root / "train/a/link.png").symlink_to("x.png")
    listed_once(str(root))
    listed_once(str(root))
    assert len(calls) == 4


def test_a_process_waits_for_another_that_lists(kept, monkeypatch):
    """The second finds the lock taken; meanwhile the first has kept its listing."""
    root, calls = kept
    real = listing_cache.locked
    taken = []

    def busy(path, *words, **more):
        if not taken:
            taken.append(path)
            listed_once(str(root))
            raise listing_cache.TakenError("held")
        return real(path, *words, **more)

    monkeypatch.setattr(listing_cache, "locked", busy)
    listed_once(str(root))
    assert len(calls) == 1


def test_a_damaged_entry_or_a_cache_that_is_no_folder_costs_a_listing(kept, tmp_path):
    root, calls = kept
    listed_once(str(root))
    (entry,) = (tmp_path / "cache" / "listings").glob("*.npz")
    assert array_cache.OURS.fullmatch(entry.name)
    entry.write_bytes(entry.read_bytes()[:-100])
    assert as_listed(listed_once(str(root))) == as_listed(list_images(str(root)))
    for file in (tmp_path / "cache" / "listings").iterdir():
        file.unlink()
    (tmp_path / "cache" / "listings").rmdir()
    (tmp_path / "cache" / "listings").write_text("a file of the user")
    listed_once(str(root))
    assert len(calls) == 3
