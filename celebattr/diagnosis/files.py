"""Checks of a folder before it is read: archives, web pages, folders in folders."""

from __future__ import annotations

import hashlib
import os
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from celebattr.constants import IMAGE_SUFFIXES
from celebattr.data.layouts import celeba, celebamask_hq
from celebattr.diagnosis.report import Finding
from celebattr.errors import reason

DEPTH = 3
"""Depth to which folders below the given one are searched."""

SOURCES = (
    "CelebA is on Kaggle as jessicali9530/celeba-dataset, on Hugging Face as flwrlabs/celeba, and "
    "on the authors' Google Drive"
)

NUMBERING = "CelebAMask-HQ has its own numbering, from 0.jpg, which CelebA's lists do not fit"
NUMBERING_REMEDY = (
    f"Put {celebamask_hq.ATTRIBUTES} and {celebamask_hq.MAPPING}, from its archive, beside "
    f"{celebamask_hq.IMAGES}, and give that folder"
)

MD5 = {
    "img_align_celeba.zip": "00d2c5bc6d35e252742224ab0c1e8fcb",
    "list_attr_celeba.txt": "75e246fa4810816ffd6ee81facbd244c",
    "list_eval_partition.txt": "d32c9cbf5e040fd4025c592c306e6668",
    "identity_CelebA.txt": "32bd1bd63d3c78cd57e08160ec5ed1e2",
    "list_landmarks_align_celeba.txt": "cc24ecafdb5b50baae59b03474781f8c",
}
"""MD5 of CelebA's own files.

Source: torchvision 0.26, torchvision/datasets/celeba.py."""

_PAGE = (b"<!doctype", b"<html", b"<?xml")
_UNFINISHED = (".part", ".crdownload", ".download", ".aria2", ".tmp")
_MAGIC = {
    b"7z\xbc\xaf": "a 7z archive",
    b"\x1f\x8b": "gzip data",
    b"Rar!": "a RAR archive",
    b"BZh": "bzip2 data",
    b"\xff\xd8\xff": "a JPEG image",
    b"%PDF": "a PDF",
}


@dataclass
class Tree:
    """The contents of a folder, down to `DEPTH`.

    Attributes:
        files: whatever is no image.
        images: folders that hold images, and how many.
        closed: folders that cannot be listed.
    """

    files: list[Path] = field(default_factory=list)
    images: dict[Path, int] = field(default_factory=dict)
    closed: list[Path] = field(default_factory=list)


def tree(path: Path, depth: int = DEPTH) -> Tree:
    """List a folder; links that lead back are followed no deeper than others."""
    found = Tree()
    _list(path, depth, found)
    return found


def _list(path: Path, depth: int, found: Tree) -> None:
    count, folders = 0, []
    try:
        with os.scandir(path) as entries:
            for entry in entries:
                if os.path.splitext(entry.name)[1].lower() in IMAGE_SUFFIXES:  # noqa: PTH122
                    count += 1
                elif entry.is_dir():
                    folders.append(path / entry.name)
                else:
                    found.files.append(path / entry.name)
    except OSError:
        found.closed.append(path)
        return
    if count:
        found.images[path] = count
    found.files.sort()
    for folder in sorted(folders) if depth else ():
        _list(folder, depth - 1, found)


def look(path: Path, *, hashes: bool) -> Iterator[Finding]:
    """Yield findings visible from outside, problems only if the folder is also unreadable.

    Args:
        path: a folder, or whatever was given for one.
        hashes: whether to read all of an archive of images for its checksum.
    """
    where = str(path)
    if path.is_file():
        yield from _file(path, where)
        return
    if not path.is_dir():
        return
    found = tree(path)
    for folder in found.closed:
        yield Finding(
            "problem",
            "permission",
            where,
            f"{folder} cannot be listed",
            f"Give yourself the right to read it: chmod u+rx {folder}",
        )
    whole = []
    for file in found.files:
        about = list(_file(file, where))
        yield from about
        if all(finding.severity != "problem" for finding in about):
            whole.append(file)
    yield from _checksums(whole, where, hashes)
    yield from _nesting(path, found)


def _file(file: Path, where: str) -> Iterator[Finding]:
    suffix = file.suffix.lower()
    if suffix in _UNFINISHED:
        yield Finding(
            "problem",
            "unfinished download",
            where,
            f"{file.name} is a download that was not finished",
            "Let the download finish, or delete the file and download it again",
        )
        return
    if ".7z" in file.name.lower():
        yield _seven_zip(file, where)
        return
    if suffix not in (".zip", ".txt", ".csv", ".parquet", ".tar"):
        return
    try:
        size = file.stat().st_size
        with file.open("rb") as opened:
            head = opened.read(512)
    except OSError as error:
        what = f"{file} cannot be read: {reason(error)}"
        remedy = f"Give yourself the right to read it: chmod u+r {file}"
        yield Finding("problem", "permission", where, what, remedy)
        return
    if head.lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith(_PAGE):
        yield Finding(
            "problem",
            "web page",
            where,
            f"{file.name} is a web page of {size:,} bytes under the name of a file: Google Drive "
            "answers so when too many people have downloaded a file that day",
            f"Delete it, and download it tomorrow or from elsewhere. {SOURCES}",
        )
    elif not size:
        remedy = f"Download it again. {SOURCES}"
        yield Finding("problem", "empty file", where, f"{file.name} is empty", remedy)
    elif suffix == ".zip":
        yield from _zip(file, head, size, where)
    if suffix == ".txt" and file.name in celeba.ATTRIBUTES + celeba.PARTITION:
        first = head.splitlines()[0] if head else b""
        if b"," in first:
            what = f"{file.name} holds comma-separated values: a CSV that was renamed"
            yield Finding("note", "csv as txt", where, f"{what}. It is read all the same")


def _seven_zip(file: Path, where: str) -> Finding:
    if "png" in file.name.lower():
        return Finding(
            "problem",
            "png archive",
            where,
            f"{file.name} is a part of the PNG images, 7z archives which are not read here",
            "Unpack all parts at once with `7z x` on the first; or take the JPEGs instead, "
            "img_align_celeba.zip from the same place, and put it beside them",
        )
    return Finding(
        "problem",
        "7z archive",
        where,
        f"{file.name} is a 7z archive, which is not read here",
        "img_celeba.7z holds the photos before alignment: take img_align_celeba.zip instead. Else "
        "unpack it with `7z x`",
    )


def _zip(file: Path, head: bytes, size: int, where: str) -> Iterator[Finding]:
    again = f"Download it again, or continue with `curl -C - -o {file.name} URL`. {SOURCES}"
    if not head.startswith(b"PK"):
        kind = next((kind for magic, kind in _MAGIC.items() if head.startswith(magic)), "no zip")
        what = f"{file.name} is {kind}, in spite of its name"
        yield Finding("problem", "not a zip", where, what, f"Download it again. {SOURCES}")
        return
    try:
        with zipfile.ZipFile(file) as archive:
            infos = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        what = (
            f"{file.name} is cut off or damaged: {size:,} bytes, and the list of its files, which "
            f"stands at the end, is not there ({error})"
        )
        yield Finding("problem", "truncated zip", where, what, again)
        return
    locked = [info.filename for info in infos if info.flag_bits & 1]
    if locked:
        what = f"{file.name} is encrypted: {len(locked):,} files of it"
        remedy = "Unpack it with its password, and delete the zip"
        yield Finding("problem", "encrypted zip", where, what, remedy, tuple(locked[:3]))


def _checksums(files: list[Path], where: str, hashes: bool) -> Iterator[Finding]:
    """Yield findings on files with names of CelebA's own, by MD5."""
    own: list[str] = []
    other: list[str] = []
    for file in files:
        if file.name not in MD5 or (file.suffix == ".zip" and not hashes):
            continue
        try:
            same = md5(file) == MD5[file.name]
        except OSError as error:
            what = f"{file.name} cannot be read to its end: {reason(error)}"
            yield Finding("problem", "checksum", where, what, "Download it again, to another disk")
            continue
        (own if same else other).append(file.name)
    if own:
        yield Finding("ok", "checksum", where, f"CelebA's own, by MD5: {', '.join(own)}")
    if other:
        what = f"parts of CelebA's own or changed, by MD5: {', '.join(other)}"
        yield Finding("note", "checksum", where, what)


def _nesting(path: Path, found: Tree) -> Iterator[Finding]:
    """Yield findings on data sets nested too deeply, and on images in the wrong place."""
    where = str(path)
    if (
        path / celebamask_hq.IMAGES in found.images
        and not (path / celebamask_hq.ATTRIBUTES).is_file()
    ):
        what = f"{celebamask_hq.IMAGES} is there without {celebamask_hq.ATTRIBUTES}"
        yield Finding("problem", "numbering", where, f"{what}: {NUMBERING}", NUMBERING_REMEDY)
        return
    known = [path / place for place, _ in celeba.IMAGES if not place.endswith(".zip")]
    known += [path / celebamask_hq.IMAGES]
    if celeba.find(path, celeba.ATTRIBUTES) is not None:
        twice = next((p for p in known if p in found.images and p.parent.name == p.name), None)
        if twice is not None:
            what = f"the images lie two folders deep, in {twice.relative_to(path)}, as Kaggle's do"
            yield Finding("note", "nesting", where, f"{what}. They are found there")
        strange = [p for p in found.images if p not in known]
        if strange and not any(p in found.images for p in known):
            yield _strange(path, strange[0])
        return
    lists = {
        f.parent for f in found.files if f.name in (*celeba.ATTRIBUTES, celebamask_hq.ATTRIBUTES)
    }
    roots = sorted({p.parent if p.name in celeba.LISTS else p for p in lists} - {path})
    if roots:
        yield Finding(
            "problem",
            "nesting",
            where,
            f"the data set lies deeper, in {roots[0].relative_to(path)}",
            f"Give that folder: --data {roots[0]}",
        )


def _strange(path: Path, folder: Path) -> Finding:
    """Return a finding about images in places that no reader searches."""
    place = folder.relative_to(path)
    if folder.name == "img_celeba":
        return Finding(
            "problem",
            "not aligned",
            str(path),
            f"{place} holds CelebA's photos before alignment: faces lie anywhere in them",
            "Take img_align_celeba.zip instead, and put it into Img/",
        )
    return Finding(
        "problem",
        "nesting",
        str(path),
        f"the images lie in {place}, which is not searched",
        f"Move that folder to {path / 'img_align_celeba'}",
    )


def md5(path: Path) -> str:
    """Return the MD5 of a file, which guards against accidents, not attacks."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
