"""Writes photographs of any source as a prepared set, for many epochs and seeds.

In TFDS's own layout (`tfds.builder_from_directory` opens it), in ArrayRecord files that
several processes write, one each at a time. A file appears whole, so that a command
that was ended goes on behind those that are there.
"""

import functools
import io
import json
import multiprocessing
import os
import re
import shutil
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from cnnjax.data.cutting.cuts import resized
from cnnjax.data.cutting.geometry import CENTER
from cnnjax.data.dataset import open_source
from cnnjax.data.fingerprints import mark_of_all
from cnnjax.data.images import JPEG_START, opened, upright
from cnnjax.data.request import Request
from cnnjax.data.sources.source import Source, reading
from cnnjax.data.streaming import num_cores
from cnnjax.errors import UserError, printable, unknown_name
from cnnjax.files import read_regular, write_whole
from cnnjax.lock import locked
from cnnjax.screen import say

NAME, VERSION = "photographs", "1.0.0"
FORMATS = ("jpeg", "raw")
PER_FILE = 4096  # photographs of a file of records
QUALITY = 95  # of JPEG files that are written anew
SAMPLE = 64  # photographs that tell how large and how long
SETTINGS, MOST_SETTINGS = "store.json", 2**26


def write_store(
    request: Request,
    store: str,
    *,
    shorter_side: int,
    form: str,
    processes: int = 0,
) -> Path:
    """Writes all pools of a source.

    Args:
      request: which source.
      store: folder to write `photographs/1.0.0` in.
      shorter_side: in pixels, to which larger photographs are shrunk; 0 = as they are.
      form: 'jpeg' (files that need no shrinking stay as they are) or 'raw' (decoded).
      processes: that write; 0 = one for each core.

    Returns:
      The folder with the records.

    Raises:
      UserError: the source cannot be read; the folder has another set, or no room.
    """
    if form not in FORMATS:
        raise unknown_name("format", form, FORMATS, "--format")
    source = open_source(request)
    if source.encoded is None:
        raise UserError(
            f"{request.name} has no photographs in files: give --dataset=folder, "
            "imagenet, webdataset or tfds:NAME"
        )
    with reading(request.data_dir):
        mark = mark_of_all(source, request)
    folder = Path(store).expanduser().absolute() / NAME / VERSION
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder.parent / ".lock", f"{printable(folder)} is being written"):
        _same_settings(folder, source, mark, shorter_side, form)
        for path in folder.iterdir():
            if _ASIDE.fullmatch(path.name):  # of a start that was killed
                path.unlink()
        for entry in source.ignored:
            say(f"ignored: {entry.count:,} x {entry.reason}")
        jobs = [
            (pool, number, count)
            for pool, held in source.pools.items()
            for count in [-(-held.size // PER_FILE)]
            for number in range(count)
        ]
        left = [job for job in jobs if not (folder / _file(*job)).exists()]
        workers = min(processes or num_cores(), max(1, len(left)))
        if left:
            _say_beforehand(source, folder, shorter_side, form, left, workers)
        write = functools.partial(_write, folder, shorter_side, form)
        for done, job in enumerate(_done(write, request, left, workers), 1):
            say(f"{_file(*job)}: {done:,} of {len(left):,} files")
        _describe(folder, source)
    return folder


def _done(write: Any, request: Request, left: list, workers: int) -> Iterator[tuple]:
    """The jobs, as they are done."""
    if workers == 1:
        source = open_source(request)
        for job in left:
            write(source, job)
            yield job
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context, _open, (request,)) as pool:
        yield from pool.map(functools.partial(_in_worker, write), left)


_OPENED: list[Source] = []  # of a process that writes


def _open(request: Request) -> None:
    end_with_parent()
    _OPENED.append(open_source(request))


def end_with_parent() -> None:
    """Ends this process when the one that started it ends, however that ends."""

    def watch() -> None:
        if (parent := multiprocessing.parent_process()) is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _in_worker(write: Any, job: tuple) -> tuple:
    write(_OPENED[0], job)
    return job


def _write(
    folder: Path, shorter_side: int, form: str, source: Source, job: tuple
) -> None:
    """Writes one file of records, aside, and gives it its name."""
    from array_record.python.array_record_module import ArrayRecordWriter

    pool, number, _ = job
    size = source.pools[pool].size
    places = np.arange(number * PER_FILE, min((number + 1) * PER_FILE, size))
    path = folder / _file(*job)
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        # Unpacking pixels takes twice as long as reading them, and saves a sixth.
        options = "group_size:1" + ",uncompressed" * (form == "raw")
        writer = ArrayRecordWriter(os.fspath(aside), options)
        for record in _records(source, pool, places, shorter_side, form):
            writer.write(record)
        writer.close()
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)


def _records(
    source: Source, pool: str, places: np.ndarray, shorter_side: int, form: str
) -> Iterator[bytes]:
    from tensorflow_datasets.proto import tf_example_pb2

    labels: Any = source.pools[pool].labels
    assert source.encoded is not None
    for place, (name, content) in zip(
        places, source.encoded(pool, places), strict=True
    ):
        example = tf_example_pb2.Example()
        feature = example.features.feature
        stored = _stored(name, content, shorter_side, form)
        feature["image"].bytes_list.value.append(stored)
        feature["label"].int64_list.value.append(int(labels[place]))
        yield example.SerializeToString(deterministic=True)


def _stored(name: str, content: bytes, shorter_side: int, form: str) -> bytes:
    """A photograph as it is kept: its own file, a JPEG anew, or its pixels as PPM."""
    with opened(name, content) as header:
        plain = header.mode in ("L", "RGB") and not header.getexif()
        fits = not shorter_side or min(header.size) <= shorter_side
    if form == "jpeg" and content.startswith(JPEG_START) and plain and fits:
        return content
    image = upright(name, content)
    if shorter_side and min(image.size) > shorter_side:
        image = resized(CENTER, image, shorter_side)
    kept = io.BytesIO()
    if form == "raw":
        image.convert("RGB").save(kept, "PPM")
    else:
        image.convert("RGB").save(kept, "JPEG", quality=QUALITY)
    return kept.getvalue()


def _say_beforehand(
    source: Source, folder: Path, shorter_side: int, form: str, left: list, workers: int
) -> None:
    """How large and how long, from a sample of the training photographs."""
    size = source.pools["train"].size
    places = np.unique(np.linspace(0, size - 1, min(SAMPLE, size)).astype(int))
    start = time.perf_counter()
    sample = [len(r) for r in _records(source, "train", places, shorter_side, form)]
    each = (time.perf_counter() - start) / len(sample)
    num = sum(
        min(PER_FILE, source.pools[pool].size - number * PER_FILE)
        for pool, number, _ in left
    )
    wanted, free = num * sum(sample) / len(sample), shutil.disk_usage(folder).free
    say(
        f"{num:,} photographs to write: about {wanted / 1e9:,.2f} GB in "
        f"{num * each / workers / 60:,.0f} minutes by {workers} processes"
    )
    if wanted > free:
        raise UserError(
            f"{printable(folder)} has {free / 1e9:,.1f} GB free, and the store takes "
            f"about {wanted / 1e9:,.1f} GB: make room, give another --store, or a "
            "smaller --shorter_side"
        )


_ASIDE = re.compile(rf"\.{NAME}-\w+\.array_record-\d{{5}}-of-\d{{5}}\.\d+")


def _file(pool: str, number: int, count: int) -> str:
    return f"{NAME}-{pool}.array_record-{number:05d}-of-{count:05d}"


def _same_settings(
    folder: Path, source: Source, mark: str, shorter_side: int, form: str
) -> None:
    """Refuses to go on with a set that was begun of something else."""
    settings = {
        "shorter_side": shorter_side,
        "format": form,
        "sizes": {pool: held.size for pool, held in source.pools.items()},
        "class_names": list(source.class_names),
        "root": os.fspath(source.root or ""),
    }
    # Stores of before have no fingerprint in theirs.
    before = json.dumps(settings, indent=1).encode()
    content = json.dumps(settings | {"fingerprint": mark}, indent=1).encode()
    path = folder.parent / SETTINGS
    if path.exists():
        found = read_regular(path, MOST_SETTINGS)
        if found not in (content, before):
            raise UserError(
                f"{printable(folder)} was begun of other photographs or labels, or in "
                "another form: give another --store, or remove it"
            )
        content = found
    elif any(folder.iterdir()):
        raise UserError(f"{printable(folder)} is not empty: give another --store")
    write_whole(path, content)


def _describe(folder: Path, source: Source) -> None:
    """Writes what TFDS keeps beside the records."""
    import tensorflow_datasets as tfds
    from array_record.python.array_record_module import ArrayRecordReader

    splits = []
    for pool, held in source.pools.items():
        count = -(-held.size // PER_FILE)
        paths = [folder / _file(pool, number, count) for number in range(count)]
        readers = [ArrayRecordReader(os.fspath(path)) for path in paths]
        splits.append(
            tfds.core.SplitInfo(
                name=pool,
                shard_lengths=[reader.num_records() for reader in readers],
                num_bytes=sum(path.stat().st_size for path in paths),
                filename_template=tfds.core.ShardedFileTemplate(
                    data_dir=folder,
                    dataset_name=NAME,
                    split=pool,
                    filetype_suffix="array_record",
                ),
            )
        )
        for reader in readers:
            reader.close()
    tfds.folder_dataset.write_metadata(
        data_dir=folder,
        features=tfds.features.FeaturesDict(
            {
                "image": tfds.features.Image(shape=(None, None, 3)),
                "label": tfds.features.ClassLabel(names=list(source.class_names)),
            }
        ),
        split_infos=splits,
        version=VERSION,
        supervised_keys=("image", "label"),
        check_data=False,
    )
