"""Loading of labelled faces: CelebA in its known layouts, and data sets of one's own.

A layout is a row of `READERS`: a function that looks at a folder and returns a `Source` if it
recognises it. CelebA's official, torchvision's, flat and Kaggle layouts differ only in where the
same files lie and how they are spelled, so one reader with lists of places serves them all.
"""

from __future__ import annotations

import contextlib
import logging
import os
import posixpath
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from celebattr.attributes import select
from celebattr.data import label_files, synthetic
from celebattr.data.dataset import FaceDataset, Source, Targets
from celebattr.data.image_stores import Folder, Zip
from celebattr.data.layouts import celeba, celebamask_hq, own, parquet, split_lists
from celebattr.data.shards import reader as shards
from celebattr.errors import DataError, reason
from celebattr.options import Location, Url, parse_location
from celebattr.predictions import check_attributes

TERMS = "CelebA: non-commercial research and education only, no redistribution of images"

log = logging.getLogger(__name__)


def load_dataset(
    folders: Sequence[Location],
    *,
    skip_missing: bool = False,
    allow_outside: bool = False,
    column: str | None = None,
    attributes: str | None = None,
) -> FaceDataset:
    """Read the labels of some folders and join them; images are read later.

    Args:
        folders: each a data set in one of the layouts, a CSV file of one's own, the URL of shards,
            or `drawn`, faces drawn by program.
        skip_missing: leave out rows whose image is missing, instead of refusing them; and use what
            is there of a list that was cut off, or of shards of which some are gone.
        allow_outside: read images that a list names outside of its folder.
        column: the column of a CSV that names the image; if None, one of `IMAGE_COLUMNS`.
        attributes: those to use, with commas between; all if None. What a folder does not say of
            an attribute that another has is unknown.

    Raises:
        DataError: a folder is not a data set, a list is damaged, or images are missing.
        UsageError: no folder has one of `attributes`.
    """
    if not folders:
        raise DataError("no data: name a folder")
    sources = [
        _present(
            read_source(parse_location(folder), column, allow_outside=allow_outside), skip_missing
        )
        for folder in folders
    ]
    names = tuple(dict.fromkeys(name for s in sources for name in s.attributes))
    if attributes is not None:
        names = tuple(select(attributes, names))
    known = [s.identities_N for s in sources if s.identities_N is not None]
    return FaceDataset(
        attributes=names,
        names=[name for s in sources for name in s.names],
        targets_NA=label_files.joined([_targets(source, names) for source in sources]),
        splits_N=np.concatenate([s.splits_N for s in sources]),
        stores=tuple(s.store for s in sources),
        store_N=np.repeat(np.arange(len(sources), dtype=np.uint8), [len(s.names) for s in sources]),
        identities_N=np.concatenate(known) if len(known) == len(sources) else None,
        summary=" + ".join(f"{s.path.name} ({s.layout}{s.note})" for s in sources),
    )


def _targets(source: Source, names: Sequence[str]) -> Targets:
    """Return the targets of some attributes; unknown where a folder does not have them."""
    if source.attributes == names:
        return source.targets_NA
    lacking_N1 = np.full((len(source.names), 1), np.nan, np.float32)
    known = source.attributes
    at = [known.index(name) if name in known else len(known) for name in names]
    if len(known) not in at:
        return source.targets_NA[:, at]
    return np.concatenate([source.targets_NA, lacking_N1], axis=1, dtype=np.float32)[:, at]


def read_source(
    path: Location, column: str | None = None, *, allow_outside: bool = False
) -> Source:
    """Read the labels of one folder, and the names of its images as its files have them.

    Args:
        path: the folder, file or URL.
        column: the column of a CSV that names the image; if None, one of `IMAGE_COLUMNS`.
        allow_outside: take images that a list names outside of its folder.

    Raises:
        DataError: it is not a data set, a list is damaged, an attribute's name is not possible, or
            an image is not in the folder.
    """
    with _reporting(path):
        source = _read(path, column)
        if isinstance(source.store, Folder) and not allow_outside:
            outside = next(filter(_leads_out, source.names), None)
            if outside is not None:
                raise DataError(
                    f"{path} names an image outside of {source.store.path}: {outside}. If you "
                    "trust the list, give --allow-outside"
                )
        source = _fitted(source)
    check_attributes(source.attributes, str(source.path))
    return source


def _leads_out(name: str) -> bool:
    """Return True if a name of a list is no place below its folder."""
    name = name.replace("\\", "/")
    if name.startswith("/") or os.path.splitdrive(name)[0]:
        return True
    return ".." in name and posixpath.normpath(name).split("/")[0] == ".."


@contextlib.contextmanager
def _reporting(path: Location) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DataError(f"{error.filename or path} cannot be read: {reason(error)}") from error


def _fitted(source: Source) -> Source:
    """Return the source with names as files have them, where those of the list nearly fit."""
    store = source.store
    if not isinstance(store, Folder | Zip):
        return source
    near = store.near(store.missing(source.names))
    taken = set(source.names)
    near = {name: file for name, file in near.items() if file not in taken}
    if not near:
        return source
    name, file = next(iter(near.items()))
    log.warning(
        "%s: %s of %s images have names that nearly fit: %s is read as %s",
        store.path,
        f"{len(near):,}",
        f"{len(source.names):,}",
        name,
        file,
    )
    return replace(source, names=[near.get(name, name) for name in source.names])


def _present(source: Source, skip_missing: bool) -> Source:
    """Return the source without rows whose image is missing, or raise an error about them."""
    for text in source.lacking:
        if not skip_missing:
            raise DataError(f"{text}. Give --skip-missing to use what is there")
        log.warning("%s", text)
    with _reporting(source.path):
        missing = source.store.missing(source.names)
    if not missing:
        return source
    shown = ", ".join(missing[:3]) + (", ..." if len(missing) > 3 else "")
    text = (
        f"{len(missing):,} of {len(source.names):,} images are not in {source.store.path}: {shown}"
    )
    if len(missing) == len(source.names):
        there = sorted(source.store.path.iterdir()) if isinstance(source.store, Folder) else ()
        packed = next((file.name for file in there if file.suffix.lower() in own.ARCHIVES), None)
        if packed is not None:
            text += f". Unpack {packed}, which lies there"
        raise DataError(text)
    if not skip_missing:
        raise DataError(f"{text}. Give --skip-missing to leave their rows out")
    log.warning("%s; their rows are left out", text)
    gone = set(missing)
    keep = np.array([name not in gone for name in source.names])
    return replace(
        source,
        names=[name for name in source.names if name not in gone],
        targets_NA=source.targets_NA[keep],
        splits_N=source.splits_N[keep],
        identities_N=None if source.identities_N is None else source.identities_N[keep],
    )


def _read(path: Location, column: str | None) -> Source:
    if isinstance(path, Url):
        return shards.read_remote(path)
    if not path.exists():
        if str(path) == synthetic.NAME:
            return synthetic.source()
        raise DataError(f"{path} does not exist")
    for reader in READERS:
        source = own.read(path, column) if reader is own.read else reader(path)
        if source is not None:
            return source
    raise DataError(_explain(path))


def _celeba(path: Path) -> Source | None:
    """Read CelebA: a list of attributes, a list of partitions, and images somewhere near."""
    attributes = celeba.find(path, celeba.ATTRIBUTES)
    if attributes is None:
        return None
    table = label_files.read_table(attributes)
    targets = label_files.label_values(table, list(range(len(table.columns))))
    splits = celeba.partition(path, table.images)
    if splits is None:
        raise DataError(
            f"{path} has {attributes.name} but no {celeba.PARTITION[0]}: without it the "
            f"splits are unknown. It comes with CelebA, in the folder Eval{_elsewhere(path)}"
        )
    store, layout = celeba.images(path, table.images[0])
    columns, note = celeba.columns(table)
    return Source(
        f"CelebA {layout}",
        path,
        columns,
        table.images,
        targets,
        splits,
        store,
        celeba.identities(path, table.images),
        note,
        table.lacking,
    )


READERS: tuple[Callable[[Path], Source | None], ...] = (
    celebamask_hq.read,
    _celeba,
    split_lists.read,
    own.read,
    parquet.read,
    shards.read,
    own.read_folders,
)


def _explain(path: Path) -> str:
    """Explain why a folder is not a data set, and suggest a remedy."""
    if path.is_file():
        return f"{path} is an archive: {_unpack(path)}{_elsewhere(path)}"
    found = sorted(p.name + ("/" if p.is_dir() else "") for p in path.iterdir())
    shown = ", ".join(found[:6]) + (", ..." if len(found) > 6 else "")
    text = (
        f"{path} is not a data set: looked for {celeba.ATTRIBUTES[0]} there and in Anno/, for a "
        f"CSV with an image column, and for other layouts; found {shown or 'nothing'}."
    )
    for depth, pattern in (("one folder", "*/"), ("two folders", "*/*/")):
        deeper = sorted(str(p) for p in path.glob(pattern) if _has_lists(p))
        if deeper:
            return f"{text} It is {depth} deeper: give {' or '.join(deeper[:3])}"
    return f"{text} See the README for how to get CelebA{_elsewhere(path)}"


def _has_lists(path: Path) -> bool:
    try:
        return celeba.find(path, celeba.ATTRIBUTES) is not None or bool(own.csv_files(path))
    except DataError:  # several, of which none is chosen: there, that is said
        return True
    except OSError:
        return False


def _unpack(path: Path) -> str:
    """Return what to do about an archive; one of CelebA's images alone is read beside its lists."""
    command = {".zip": "unzip", ".7z": "7z x", ".rar": "unrar x"}.get(
        path.suffix.lower(), "tar -xf"
    )
    try:
        with zipfile.ZipFile(path) as opened:
            inside = {Path(name).suffix.lower() for name in opened.namelist()}
    except (OSError, zipfile.BadZipFile):
        inside = {".csv"}
    if inside.isdisjoint((".csv", ".tsv", ".txt", ".parquet")):
        return "give the folder that holds it, with the lists, or a CSV with an image column"
    return f"unpack it (`{command} {path.name}`) and give the folder with the lists and the images"


def _elsewhere(path: Path) -> str:
    """Return a hint at the data set that a folder or file belongs to, or an empty string."""
    above = [p for p in path.resolve().parents[:2] if celeba.find(p, celeba.ATTRIBUTES)]
    return f". It seems to be a part of {above[0]}: give that" if above else ""
