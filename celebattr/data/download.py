"""Download of CelebA, by whoever accepts its terms: resumable, and checked against known sums.

One plain client serves all three sources: their own libraries would be three more to install.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import http.client
import json
import os
import re
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from celebattr.constants import Progress
from celebattr.errors import DataError, UsageError
from celebattr.io.files import StrPath, free_room, sync_folder

SOURCES = ("huggingface", "kaggle", "drive")

TERMS = (
    "CelebA is for non-commercial research and education only, and its images may not be passed on "
    "(https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html). Give --accept-terms if you accept that"
)

MD5 = {
    "img_align_celeba.zip": "00d2c5bc6d35e252742224ab0c1e8fcb",
    "list_attr_celeba.txt": "75e246fa4810816ffd6ee81facbd244c",
    "list_eval_partition.txt": "d32c9cbf5e040fd4025c592c306e6668",
    "identity_CelebA.txt": "32bd1bd63d3c78cd57e08160ec5ed1e2",
    "list_landmarks_align_celeba.txt": "cc24ecafdb5b50baae59b03474781f8c",
}
"""MD5 of CelebA's own files.

Source: torchvision 0.26, torchvision/datasets/celeba.py; so are the addresses below."""

DRIVE = "https://drive.usercontent.google.com/download"
_DRIVE_IDS = {
    "list_attr_celeba.txt": "0B7EVK8r0v71pblRyaVFSWGxPY0U",
    "list_eval_partition.txt": "0B7EVK8r0v71pY0NSMzRuSXJEVkk",
    "identity_CelebA.txt": "1_ee_0u7vcNLOfNLegJRHmolfH5ICW-XS",
    "img_align_celeba.zip": "0B7EVK8r0v71pZjFTYXZWM3FlRnM",
}
KAGGLE = "https://www.kaggle.com/api/v1/datasets/download/jessicali9530/celeba-dataset"
HUGGING_FACE = "https://huggingface.co"
"""Replaced by $HF_ENDPOINT, as Hugging Face's own tools do."""
_REPOSITORY = "flwrlabs/celeba"

TRIES, PAUSE, SILENCE = 5, 2.0, 60.0
"""Attempts without a new byte, seconds before the second (doubled each time), and seconds without a
byte after which a connection is given up."""
_CHUNK = 1 << 20
_PAGE = 1 << 16
_RETRIED = (408, 429, 500, 502, 503, 504)


@dataclass(frozen=True)
class File:
    """A file to download.

    Attributes:
        name: below the folder, with `/`.
        url: its address.
        size: in bytes, where that is known before.
        hashed: algorithm and hexadecimal digest, where known before.
    """

    name: str
    url: str
    size: int | None = None
    hashed: tuple[str, str] | None = None


def download(
    to: StrPath,
    source: str = "huggingface",
    *,
    accept_terms: bool = False,
    on_progress: Progress = lambda done, total: None,
) -> Path:
    """Download CelebA into a folder that every command takes as --data.

    What is there and complete stays; what was interrupted continues.

    Args:
        to: the folder; made if missing.
        source: one of `SOURCES`. Kaggle may want a token: ~/.kaggle/kaggle.json, or
            KAGGLE_USERNAME and KAGGLE_KEY.
        accept_terms: that CelebA's terms are accepted.
        on_progress: told of bytes done and their total, 0 where that is not known, per file.

    Returns:
        The folder.

    Raises:
        UsageError: there is no such source, or the terms are not accepted.
        DataError: there is no connection, no room or no permission; a quota is used up; what came
            is not what was asked for.
    """
    if source not in SOURCES:
        raise UsageError(f"--from {source!r} is not one of {', '.join(SOURCES)}")
    if not accept_terms:
        raise UsageError(TERMS)
    to, headers = Path(to), _kaggle_token() if source == "kaggle" else {}
    try:
        to.mkdir(parents=True, exist_ok=True)
        files = _files(source)
        missing = [file for file in files if not (to / file.name).is_file()]
        needed = sum(file.size or 0 for file in missing)
        if needed > free_room(to):
            raise DataError(
                f"{to}: {needed / 1e9:.1f} GB are needed and {free_room(to) / 1e9:.1f} free. "
                "Give --to on a larger disk"
            )
        for file in missing:
            fetch(file, to / file.name, headers=headers, on_progress=on_progress)
    except OSError as error:
        raise DataError(f"{to}: cannot be written ({error.strerror or error})") from error
    if source == "kaggle":
        _lists_of(to / "img_align_celeba.zip")
    return to


def _files(source: str) -> list[File]:
    if source == "drive":
        return [
            File(name, f"{DRIVE}?id={key}&export=download&confirm=t", hashed=("md5", MD5[name]))
            for name, key in _DRIVE_IDS.items()
        ]
    if source == "kaggle":
        # Images are found in a zip by their names, so there is no need to unpack 202,599 files.
        return [File("img_align_celeba.zip", KAGGLE)]
    hub = os.environ.get("HF_ENDPOINT", HUGGING_FACE).rstrip("/")
    api = f"{hub}/api/datasets/{_REPOSITORY}/tree/main?recursive=true"
    with _opened(api, {}) as answer:
        try:
            listed = json.load(answer)
            found = [entry for entry in listed if str(entry["path"]).endswith(".parquet")]
            files = [
                File(
                    str(entry["path"]),
                    f"{hub}/datasets/{_REPOSITORY}/resolve/main/{quote(entry['path'])}",
                    entry["size"],
                    ("sha256", entry["lfs"]["oid"]),
                )
                for entry in found
            ]
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(f"{api}: not the list of files that Hugging Face gives") from error
    if not files or any(".." in Path(file.name).parts or file.name[0] == "/" for file in files):
        raise DataError(f"{api}: names no Parquet files of CelebA")
    return files


def fetch(
    file: File,
    target: Path,
    *,
    headers: Mapping[str, str],
    on_progress: Progress = lambda done, total: None,
) -> None:
    """Download one file by way of `NAME.part`, which an interrupted download continues.

    Raises:
        DataError: it cannot be had, or its sum differs.
        OSError: it cannot be written.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + ".part")
    hashed, failed = file.hashed, 0
    while True:
        before = part.stat().st_size if part.exists() else 0
        try:
            hashed = _continue(file, part, headers, on_progress) or hashed
            break
        except (_BrokenError, http.client.HTTPException, ConnectionError, TimeoutError) as error:
            grown = part.exists() and part.stat().st_size > before
            failed = 1 if grown else failed + 1
            if failed >= TRIES:
                raise DataError(
                    f"{file.url}: {error}. {part} keeps what has come: give the same command again"
                ) from error
            time.sleep(PAUSE * 2 ** (failed - 1))
    if hashed is not None and _digest(part, hashed[0]) != hashed[1]:
        part.unlink()
        raise DataError(f"{file.url}: damaged on the way, its {hashed[0]} differs. Try again")
    part.replace(target)
    sync_folder(target.parent)


class _BrokenError(Exception):
    """A connection broke, or a server asked to come back later."""


def _continue(
    file: File, part: Path, headers: Mapping[str, str], on_progress: Progress
) -> tuple[str, str] | None:
    """Append what is missing; return the sum that the server tells, if it does."""
    done = part.stat().st_size if part.exists() else 0
    asked = {**headers, **({"Range": f"bytes={done}-"} if done else {})}
    with contextlib.ExitStack() as stack:
        try:
            answer = stack.enter_context(_opened(file.url, asked))
        except _AllThereError:
            return None
        resumed = answer.status == 206 and answer.headers.get("Content-Range", "").startswith(
            f"bytes {done}-"
        )
        done = done if resumed else 0
        length = answer.headers.get("Content-Length")
        total = done + int(length) if length and length.isdigit() else file.size or 0
        with part.open("ab" if resumed else "wb") as out:
            while block := answer.read(_CHUNK):
                out.write(block)
                done += len(block)
                on_progress(done, total)
            out.flush()
            os.fsync(out.fileno())
        if done < total:
            raise _BrokenError(f"the connection ended after {done:,} of {total:,} bytes")
        # Google's storage, where Kaggle's files lie, tells the MD5.
        told = re.search(r"md5=([\w+/=]+)", ", ".join(answer.headers.get_all("x-goog-hash", [])))
        return ("md5", base64.b64decode(told[1]).hex()) if told else None


class _AllThereError(Exception):
    """The server has nothing after the bytes that are there (416)."""


def _opened(url: str, headers: Mapping[str, str]) -> Any:
    """Open an address.

    Raises:
        DataError: it is refused for good, or a web page comes instead of a file.
        _BrokenError: it may work later.
    """
    host = urlsplit(url).netloc
    by_hand = f"Get CelebA in a browser, and check it with celebattr doctor. {TERMS.split('. ')[0]}"
    request = urllib.request.Request(url, headers={"User-Agent": "celebattr", **headers})
    try:
        answer = urllib.request.urlopen(request, timeout=SILENCE)
    except urllib.error.HTTPError as error:
        page = error.read(_PAGE).decode("utf-8", "replace")
        if error.code == 416 and "Range" in headers:
            raise _AllThereError from error
        if _QUOTA.search(page):
            raise DataError(_quota(host)) from error
        if error.code in (401, 403):
            raise DataError(
                f"{host} wants to know who asks ({error.code}). For Kaggle make an API token (its "
                "Settings page) and put it into ~/.kaggle/kaggle.json, or try another --from"
            ) from error
        if error.code in _RETRIED:
            raise _BrokenError(f"{host} answers {error.code} {error.reason}") from error
        raise DataError(f"{url}: {error.code} {error.reason}. Try another --from") from error
    except urllib.error.URLError as error:
        if isinstance(error.reason, TimeoutError | ConnectionResetError):
            raise _BrokenError(f"{host}: {error.reason}") from error
        raise DataError(f"no connection to {host} ({error.reason}). {by_hand}") from error
    except (ConnectionError, TimeoutError) as error:
        raise _BrokenError(f"{host}: {error}") from error
    if answer.headers.get_content_type() == "text/html":
        page = answer.read(_PAGE).decode("utf-8", "replace")
        answer.close()
        if _QUOTA.search(page):
            raise DataError(_quota(host))
        raise DataError(f"{url}: a web page came instead of the file. {by_hand}")
    return answer


_QUOTA = re.compile(r"quota exceeded|too many users have viewed", re.IGNORECASE)


def _quota(host: str) -> str:
    return (
        f"{host}: too many people have downloaded this file today. Try again in 24 hours, or "
        "another --from: huggingface has no such limit"
    )


def _digest(path: Path, algorithm: str) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


def _kaggle_token() -> dict[str, str]:
    """The header that says who asks; none without a token, which public data may not need."""
    user, key = os.environ.get("KAGGLE_USERNAME"), os.environ.get("KAGGLE_KEY")
    if not (user and key):
        # Path.expanduser raises where there is no home.
        home = os.path.expanduser("~/.kaggle")  # noqa: PTH111
        folder = os.environ.get("KAGGLE_CONFIG_DIR") or home
        try:
            token = json.loads(Path(folder, "kaggle.json").read_text(encoding="utf-8"))
            user, key = str(token["username"]), str(token["key"])
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(f"{folder}/kaggle.json: not an API token of Kaggle") from error
    return {"Authorization": f"Basic {base64.b64encode(f'{user}:{key}'.encode()).decode()}"}


def _lists_of(archive: Path) -> None:
    """Unpack the lists of Kaggle's archive beside it; its images stay inside.

    Raises:
        DataError: it is not Kaggle's archive.
    """
    try:
        with zipfile.ZipFile(archive) as file:
            lists = [n for n in file.namelist() if n.startswith("list_") and n.endswith(".csv")]
            for name in lists:
                file.extract(name, archive.parent)
    except zipfile.BadZipFile as error:
        archive.unlink()
        raise DataError(f"{archive}: no complete zip came ({error}). Try again") from error
    if "list_attr_celeba.csv" not in lists:
        raise DataError(
            f"{archive}: not Kaggle's archive of CelebA, it has no list_attr_celeba.csv"
        )
