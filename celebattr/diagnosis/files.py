"""Checks of a folder before it is read: archives, web pages, folders in folders."""

from __future__ import annotations

import hashlib
import os
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from celebattr.constants import IMAGE_SUFFIXES
from celebattr.data.download import MD5
from celebattr.data.layouts import celeba, celebamask_hq
from celebattr.diagnosis.report import Finding
from celebattr.errors import reason

DEPTH = 3
"""Depth to which folders below the given one are searched."""

SOURCES = (
    "`celebattr download` gets CelebA from Hugging Face (flwrlabs/celeba), Kaggle "
    "(jessicali9530/celeba-dataset) or the authors' Google Drive"
)

NUMBERING = "CelebAMask-HQ has its own numbering, from 0.jpg, which CelebA's lists do not fit"
NUMBERING_REMEDY = (
    f"Put {celebamask_hq.ATTRIBUTES} and {celebamask_hq.MAPPING}, from its archive, beside "
    f"{celebamask_hq.IMAGES}, and give that folder"
)

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


def tree(path: Path) -> Tree:
    """List a folder; links that lead back are followed no deeper than others."""
    found = Tree()

    def closed(error: OSError) -> None:
        found.closed.append(Path(error.filename))

    for name, folders, names in os.walk(path, onerror=closed, followlinks=True):
        folder = Path(name)
        others = [
            n
            for n in names
            if os.path.splitext(n)[1].lower() not in IMAGE_SUFFIXES  # noqa: PTH122
        ]
        found.files += [folder / other for other in others]
        if len(others) < len(names):
            found.images[folder] = len(names) - len(others)
        folders.sort()
        if len(folder.parts) - len(path.parts) == DEPTH:
            folders.clear()
    found.files.sort()
    return found


def look(path: Path, *, hashes: bool) -> Iterator[Finding]:
    """Yield findings visible from outside, problems only if the folder is also unreadable.

    Args:
        path: a folder, or whatever was given for one.
        hashes: whether to read all of an archive of images for its checksum.
    """
    if path.is_file():
        yield from _file(path)
        return
    if not path.is_dir():
        return
    found = tree(path)
    for folder in found.closed:
        remedy = f"Give yourself the right to read it: chmod u+rx {folder}"
        yield Finding("problem", "permission", f"{folder} cannot be listed", remedy)
    whole = []
    for file in found.files:
        about = list(_file(file))
        yield from about
        if all(finding.severity != "problem" for finding in about):
            whole.append(file)
    yield from _checksums(whole, hashes)
    yield from _nesting(path, found)


def _file(file: Path) -> Iterator[Finding]:
    suffix = file.suffix.lower()
    if suffix in _UNFINISHED:
        what = f"{file.name} is a download that was not finished"
        remedy = "Let the download finish, or delete the file and download it again"
        yield Finding("problem", "unfinished download", what, remedy)
        return
    if ".7z" in file.name.lower():
        yield _seven_zip(file)
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
        yield Finding("problem", "permission", what, remedy)
        return
    if head.lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith(_PAGE):
        yield Finding(
            "problem",
            "web page",
            f"{file.name} is a web page of {size:,} bytes under the name of a file: Google Drive "
            "answers so when too many people have downloaded a file that day",
            f"Delete it, and download it tomorrow or from elsewhere. {SOURCES}",
        )
    elif not size:
        remedy = f"Download it again. {SOURCES}"
        yield Finding("problem", "empty file", f"{file.name} is empty", remedy)
    elif suffix == ".zip":
        yield from _zip(file, head, size)
    text_list = suffix == ".txt" and file.name in celeba.ATTRIBUTES + celeba.PARTITION
    if text_list and b"," in head.partition(b"\n")[0]:
        what = f"{file.name} holds comma-separated values: a CSV that was renamed"
        yield Finding("note", "csv as txt", f"{what}. It is read all the same")


def _seven_zip(file: Path) -> Finding:
    if "png" in file.name.lower():
        what = f"{file.name} is a part of the PNG images, 7z archives which are not read here"
        remedy = (
            "Unpack all parts at once with `7z x` on the first; or take the JPEGs instead, "
            "img_align_celeba.zip from the same place, and put it beside them"
        )
        return Finding("problem", "png archive", what, remedy)
    remedy = (
        "img_celeba.7z holds the photos before alignment: take img_align_celeba.zip instead. Else "
        "unpack it with `7z x`"
    )
    what = f"{file.name} is a 7z archive, which is not read here"
    return Finding("problem", "7z archive", what, remedy)


def _zip(file: Path, head: bytes, size: int) -> Iterator[Finding]:
    if not head.startswith(b"PK"):
        kind = next((kind for magic, kind in _MAGIC.items() if head.startswith(magic)), "no zip")
        what = f"{file.name} is {kind}, in spite of its name"
        yield Finding("problem", "not a zip", what, f"Download it again. {SOURCES}")
        return
    try:
        with zipfile.ZipFile(file) as archive:
            infos = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        what = (
            f"{file.name} is cut off or damaged: {size:,} bytes, and the list of its files, which "
            f"stands at the end, is not there ({error})"
        )
        remedy = f"Download it again, or continue with `curl -C - -o {file.name} URL`. {SOURCES}"
        yield Finding("problem", "truncated zip", what, remedy)
        return
    locked = [info.filename for info in infos if info.flag_bits & 1]
    if locked:
        what = f"{file.name} is encrypted: {len(locked):,} files of it"
        remedy = "Unpack it with its password, and delete the zip"
        yield Finding("problem", "encrypted zip", what, remedy, locked)


def _checksums(files: list[Path], hashes: bool) -> Iterator[Finding]:
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
            yield Finding("problem", "checksum", what, "Download it again, to another disk")
            continue
        (own if same else other).append(file.name)
    if own:
        yield Finding("ok", "checksum", f"CelebA's own, by MD5: {', '.join(own)}")
    if other:
        what = f"parts of CelebA's own or changed, by MD5: {', '.join(other)}"
        yield Finding("note", "checksum", what)


def _nesting(path: Path, found: Tree) -> Iterator[Finding]:
    """Yield findings on data sets nested too deeply, and on images in the wrong place."""
    hq, labelled = path / celebamask_hq.IMAGES, (path / celebamask_hq.ATTRIBUTES).is_file()
    if hq in found.images and not labelled:
        what = f"{celebamask_hq.IMAGES} is there without {celebamask_hq.ATTRIBUTES}"
        yield Finding("problem", "numbering", f"{what}: {NUMBERING}", NUMBERING_REMEDY)
        return
    known = [hq, *(path / place for place, _ in celeba.IMAGES if not place.endswith(".zip"))]
    if celeba.find(path, celeba.ATTRIBUTES) is not None:
        twice = next((p for p in known if p in found.images and p.parent.name == p.name), None)
        if twice is not None:
            what = f"the images lie two folders deep, in {twice.relative_to(path)}, as Kaggle's do"
            yield Finding("note", "nesting", f"{what}. They are found there")
        strange = [p for p in found.images if p not in known]
        if strange and not any(p in found.images for p in known):
            yield _strange(path, strange[0])
        return
    lists = {
        f.parent for f in found.files if f.name in (*celeba.ATTRIBUTES, celebamask_hq.ATTRIBUTES)
    }
    roots = sorted({p.parent if p.name in celeba.LISTS else p for p in lists} - {path})
    if roots:
        what = f"the data set lies deeper, in {roots[0].relative_to(path)}"
        yield Finding("problem", "nesting", what, f"Give that folder: --data {roots[0]}")


def _strange(path: Path, folder: Path) -> Finding:
    """Return a finding about images in places that no reader searches."""
    place = folder.relative_to(path)
    if folder.name == "img_celeba":
        what = f"{place} holds CelebA's photos before alignment: faces lie anywhere in them"
        remedy = "Take img_align_celeba.zip instead, and put it into Img/"
        return Finding("problem", "not aligned", what, remedy)
    what = f"the images lie in {place}, which is not searched"
    remedy = f"Move that folder to {path / 'img_align_celeba'}"
    return Finding("problem", "nesting", what, remedy)


def md5(path: Path) -> str:
    """Return the MD5 of a file, which guards against accidents, not attacks."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
