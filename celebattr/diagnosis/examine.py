"""Examination of whole data sets: contents, problems and remedies."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from celebattr.attributes import key_of, select, split_names
from celebattr.constants import SPLITS, Progress
from celebattr.data import duplicates, synthetic
from celebattr.data.dataset import Source
from celebattr.data.layouts.load import read_source
from celebattr.diagnosis import files, leaks, pictures, rows
from celebattr.diagnosis.config import DoctorConfig
from celebattr.diagnosis.report import DoctorReport, Finding, FolderReport
from celebattr.errors import CelebattrError, MissingExtraError
from celebattr.options import Location, Url

_CAUSES = (
    *("nesting", "not aligned", "numbering", "permission", "png archive", "unfinished download"),
)
"""Checks whose problems leave something out of its place, wherever the reader notices."""

_HQ_NAME = re.compile(r"has no row for .* first \d{1,5}\.jpg")


def examine(config: DoctorConfig, progress: Progress = lambda done, total: None) -> DoctorReport:
    """Examine some data sets and report all findings; damage is a finding, not an error.

    Args:
        config: which folders, and how thoroughly.
        progress: called after each image.

    Raises:
        UsageError: no folder has one of `config.attributes`.
    """
    findings: list[Finding] = []
    folders: list[FolderReport] = []
    sources: list[Source] = []
    for path in config.data:
        source, found = _folder(path, config)
        findings += _at(str(path), found)
        if source is None:
            folders.append(FolderReport(str(path), None))
            continue
        sources.append(source)
        layout = source.layout + source.note
        folders.append(FolderReport(str(path), layout, rows.splits(source)))
    opened = 0
    if sources and config.attributes is not None:
        select(config.attributes, sorted({name for s in sources for name in s.attributes}))
    if sources:
        everywhere = ", ".join(str(source.path) for source in sources)
        findings += _at(everywhere, [*_together(sources), *leaks.check(sources)])
        if not config.quick:
            for source in sources:
                findings += _at(
                    str(source.path), pictures.faces(source, config.faces, config.workers)
                )
            photos = {found.where for found in findings if found.what.startswith(pictures.PHOTOS)}
            found, opened = _pictures(sources, photos, config, progress)
            findings += _at(everywhere, found)
    return DoctorReport(tuple(folders), tuple(findings), opened)


def _at(where: str, findings: Iterable[Finding]) -> list[Finding]:
    """Return findings that say where they were made, unless they do."""
    return [replace(finding, where=finding.where or where) for finding in findings]


def _folder(path: Location, config: DoctorConfig) -> tuple[Source | None, list[Finding]]:
    """Read one folder; return it with the findings about it."""
    seen: list[Finding] = []
    try:
        if not isinstance(path, Url):
            seen += files.look(path, hashes=not config.quick)
        source = read_source(path, config.column, allow_outside=config.allow_outside)
        if config.attributes is not None:
            source = _only(source, config.attributes)
        found = [*pictures.missing(source), *rows.check(source)]
    except (CelebattrError, OSError) as error:
        if not any(_explains(finding, str(error)) for finding in seen):
            seen.append(Finding("problem", "reading", str(error), _remedy(error)))
        return None, seen
    layout = Finding("ok", "layout", f"{source.layout}{source.note}")
    if all(finding.severity != "problem" for finding in found):
        # What looked like the cause of trouble has caused none.
        seen = [
            replace(finding, severity="note") if finding.severity == "problem" else finding
            for finding in seen
        ]
    return source, [layout, *seen, *found]


def _only(source: Source, asked: str) -> Source:
    """Return a folder with those of some attributes that it has; with all if it has none."""
    keys = set(map(key_of, split_names(asked)))
    at = [i for i, name in enumerate(source.attributes) if key_of(name) in keys]
    if not at:
        return source
    names = tuple(source.attributes[i] for i in at)
    return replace(source, attributes=names, targets_NA=source.targets_NA[:, at])


def _explains(finding: Finding, error: str) -> bool:
    """Return True if a finding already explains why a folder cannot be read."""
    name = finding.what.partition(" ")[0]
    return finding.severity == "problem" and (finding.check in _CAUSES or name in error)


def _remedy(error: Exception) -> str:
    """Return the remedy for an unreadable folder; the message says what is wrong."""
    text = str(error)
    if isinstance(error, MissingExtraError):
        return "Install it, or take CelebA in another layout"
    if "does not exist" in text:
        return "Check the path; `drawn` stands for faces drawn by program"
    if _HQ_NAME.search(text):
        return f"{files.NUMBERING}. {files.NUMBERING_REMEDY}"
    if "unpack it" in text:
        return "Unpack it, and look at the folder again"
    if "list_eval_partition" in text:
        place = "beside the list of attributes"
        return f"Take list_eval_partition.txt from where CelebA came and put it {place}"
    if "not a data set" in text or "no images" in text:
        return f"Give the folder that holds the lists and the images. {files.SOURCES}"
    return f"Fix what the message names, or get that file again. {files.SOURCES}"


def _together(sources: list[Source]) -> Iterator[Finding]:
    """Yield findings about all folders together, as training would use them."""
    first = sources[0]
    for source in sources[1:]:
        odd = sorted(set(source.attributes) ^ set(first.attributes))
        if odd:
            what = (
                f"{source.path} and {first.path} have different attributes: {len(odd)} are in one "
                "only, and unknown in the other"
            )
            yield Finding("note", "attributes", what, "", odd)
    for name, severity, why in (
        ("train", "problem", "there is nothing to train on"),
        ("validation", "note", "training holds out a tenth of train, by person where known"),
        ("test", "note", "there is nothing to evaluate on"),
    ):
        if not any((source.splits_N == SPLITS[name]).any() for source in sources):
            remedy = (
                f"Mark some rows as {name} in the list of splits, or join a folder that has some: "
                "--data can be repeated"
            )
            yield Finding(severity, "empty split", f"no {name} images: {why}", remedy)


def _pictures(
    sources: list[Source], photos: set[str], config: DoctorConfig, progress: Progress
) -> tuple[list[Finding], int]:
    chosen = []
    for source in sources:
        gone = set(source.store.missing(source.names))
        there = [row for row, name in enumerate(source.names) if name not in gone]
        chosen.append([there[i] for i in pictures.spread(len(there), config.limit)])
    total, done = sum(map(len, chosen)), 0
    findings: list[Finding] = []
    places, thumbnails = [], []
    for source, picked in zip(sources, chosen, strict=True):
        opened: list[duplicates.Picture] = []
        for picture in duplicates.open_all(source, picked, workers=config.workers):
            opened.append(picture)
            done += 1
            progress(done, total)
        aligned = str(source.path) not in photos
        findings += _at(str(source.path), pictures.check(source, picked, opened, aligned=aligned))
        if source.store.path == Path(synthetic.NAME):
            continue  # drawings of the same attributes are all but one picture
        for row, picture in zip(picked, opened, strict=True):
            if picture.thumbnail_HW is not None:
                places.append((source, row))
                thumbnails.append(picture.thumbnail_HW)
    if thumbnails:
        findings += leaks.pictures(places, np.stack(thumbnails))
    return findings, done
