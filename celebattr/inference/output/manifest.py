"""Run manifest: weights, options and shard behind an output, and its state.

It lies beside an output file as `NAME.run.json`, and beside the growing part until it ends.
Resuming checks that the run is the same; merging checks that the parts of a run are whole.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from celebattr.constants import VERSION
from celebattr.errors import DataError, UsageError, reason
from celebattr.inference.config import PredictConfig
from celebattr.inference.inputs.source import Input
from celebattr.inference.output.writers import FORMATS
from celebattr.io import schema
from celebattr.io.files import reporting, write_text
from celebattr.predictions import SCHEMA, Facts, check_schema, name_bytes

FOLDER_FILE = "run.json"
"""Name of the manifest in a folder of parts that one run wrote."""

OPTIONS = ("faces", "threshold", "operating_point", "consistent", "unsure_below")
"""Fields of `PredictConfig` that decide what the rows say, besides the attributes."""


@dataclass(frozen=True)
class Run:
    """One run of `celebattr predict --output`.

    Attributes:
        weights: name and sha256 of the bundle.
        options: what decides the rows.
        shard: (i, N): the i-th of N shares, from 1.
        finished: whether every input has its rows.
        inputs: how many inputs all shards have together.
        inputs_sha256: over the names of all of them, in order; after --append, in that of the file.
        counts: inputs of this shard, and rows by status.
        names_sha256: over the names of the file's own inputs, in order.
        sha256: of the finished file, as sha256sum prints it.
        mode: what continues a part: "resume", "append", or "retry" with the statuses. Of a
            finished file, "append" if its inputs are in the order of the file.
        source: of a part that --append or --retry began from a finished file, that file's sha256
            and inputs.
        began: pairs of a number of inputs, and when (seconds since 1970) what follows was begun.
        versions: of the packages that decide the rows; several if rows were added later.
    """

    weights: dict[str, str]
    options: dict[str, Any]
    format: str
    shard: tuple[int, int] = (1, 1)
    finished: bool = False
    inputs: int = 0
    inputs_sha256: str = ""
    counts: dict[str, int] = field(default_factory=dict)
    schema: int = SCHEMA
    names_sha256: str = ""
    sha256: str = ""
    mode: str = "resume"
    source: dict[str, Any] = field(default_factory=dict)
    began: tuple[tuple[int, float], ...] = ()
    versions: dict[str, list[str]] = field(default_factory=dict)

    @classmethod
    def of(cls, facts: Facts, config: PredictConfig, format: str, shard: Shard) -> Run:
        """Return the run of a command line, before it begins."""
        options: dict[str, Any] = {name: getattr(config, name) for name in OPTIONS}
        options["threshold"] = config.thresholds
        options["attributes"] = list(facts.attributes)
        weights = {"name": facts.name, "sha256": facts.sha256}
        shares = (shard.index, shard.count)
        return cls(weights, options, format, shares, versions=versions_here())

    def to_json(self) -> str:
        """Return the run as JSON for its manifest."""
        return json.dumps(dataclasses.asdict(self), indent=2) + "\n"

    @property
    def inside(self) -> str:
        """The JSON that a Parquet file holds: the same whenever the rows are."""
        plain = dataclasses.replace(self, sha256="", began=(), mode="resume", source={})
        return plain.to_json()

    def made_also_by(self, versions: dict[str, list[str]]) -> Run:
        """Return the run with further versions of packages among its own."""
        names = [*self.versions, *versions]
        joined = {n: sorted({*self.versions.get(n, ()), *versions.get(n, ())}) for n in names}
        return dataclasses.replace(self, versions=joined)

    def differences(self, other: Run) -> list[str]:
        """List the differences of two runs that change rows; the shard is ignored."""
        # An option that is newer than a run was at its default then.
        before = {
            one.name: one.default
            for one in dataclasses.fields(PredictConfig)
            if one.name in OPTIONS
        }
        mine, theirs = (
            {"weights": run.weights, "format": run.format, **before, **run.options}
            for run in (self, other)
        )
        return [
            f"{name} {mine.get(name)} and {theirs.get(name)}"
            for name in dict.fromkeys([*mine, *theirs])
            if mine.get(name) != theirs.get(name)
        ]


_PACKAGES = {
    "opencv": tuple(f"opencv-{kind}" for kind in ("python-headless", "python", "contrib-python")),
    "pillow": ("pillow",),
    "onnxruntime": ("onnxruntime", "onnxruntime-gpu"),
}
"""Packages that decide rows, and the names under which they are installed."""


def versions_here() -> dict[str, list[str]]:
    """Return the versions of celebattr and of the packages that decide rows."""
    from importlib import metadata  # a third of what --help may take

    found = {"celebattr": [VERSION]}
    for name, packages in _PACKAGES.items():
        for package in packages:
            with contextlib.suppress(metadata.PackageNotFoundError):
                found.setdefault(name, [metadata.version(package)])
    return found


def other_versions(one: dict[str, list[str]], other: dict[str, list[str]]) -> str:
    """Return what differs between the versions of two runs, for a person, or an empty string."""
    odd = [name for name in one if name in other and one[name] != other[name]]
    return "; ".join(f"{n} {', '.join(one[n])} and {', '.join(other[n])}" for n in odd)


def about(path: Path) -> Path:
    """Return the path of the manifest of an output file."""
    return path.with_name(f"{path.name}.run.json")


def part_of(path: Path) -> Path:
    """Return the file that grows until `path` is complete."""
    return path.with_name(f"{path.name}.part")


def read(path: Path) -> Run:
    """Read the manifest of an output file.

    Raises:
        DataError: it is missing, cannot be read, or is of another schema.
    """
    file = about(Path(os.path.realpath(path)) if path.is_symlink() else path)
    try:
        return parse(file.read_bytes(), str(file))
    except FileNotFoundError as error:
        raise DataError(
            f"{file} is missing, the manifest of {path.name}: was it written with --output?"
        ) from error
    except OSError as error:
        raise DataError(f"{file} cannot be read ({error})") from error


def parse(data: bytes, name: str) -> Run:
    """Parse a run from the JSON of `to_json`.

    Raises:
        DataError: that it is not, or of another schema; `name` tells a person where it lies.
    """
    try:
        values = schema.json_object(data)
        check_schema(values.get("schema"), name)
        run = schema.checked(Run, values)
        schema.check("attributes", run.options.get("attributes"), list[str])
        if run.format not in FORMATS:
            raise ValueError(f"a format {run.format!r}")
        if not 1 <= run.shard[0] <= run.shard[1]:
            raise ValueError(f"shard {run.shard[0]} of {run.shard[1]}")
    except ValueError as error:
        raise DataError(f"{name} cannot be read ({reason(error)})") from error
    return run


def write(path: Path, run: Run) -> None:
    """Write the manifest of an output file; a link in its place is replaced, not followed."""
    file = about(path)
    with reporting(file):
        if file.is_symlink():
            file.unlink()
    write_text(file, run.to_json())


class Names:
    """A hash over the names of inputs, in order: the same on every system, and for every name.

    Attributes:
        count: how many.
    """

    def __init__(self) -> None:
        self.count = 0
        self._hash = hashlib.sha256()

    def add(self, name: bytes) -> None:
        """Add one, as `celebattr.predictions.name_bytes` gives it."""
        self.count += 1
        self._hash.update(name + b"\0")

    @property
    def sha256(self) -> str:
        """The hash of the names so far."""
        return self._hash.hexdigest()


class Shard:
    """Every N-th input, beginning with the i-th: the same inputs at any time and place.

    Iterating gives this shard's inputs; `inputs` and `sha256` then tell about all of them.
    """

    def __init__(self, index: int = 1, count: int = 1) -> None:
        self.index, self.count = index, count
        self._names = Names()

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Parse "2/8".

        Raises:
            UsageError: it is not i/N with i from 1 to N.
        """
        index, slash, count = text.partition("/")
        if slash and index.isdecimal() and count.isdecimal() and 1 <= int(index) <= int(count):
            return cls(int(index), int(count))
        raise UsageError(f"--shard {text!r} is not i/N with i from 1 to N, for example 2/8")

    def take(self, inputs: Iterator[Input]) -> Iterator[Input]:
        """Yield the inputs of this shard."""
        for item in inputs:
            mine = self.inputs % self.count == self.index - 1
            self._names.add(name_bytes(item.path))
            if mine:
                yield item

    @property
    def inputs(self) -> int:
        """The number of all inputs so far."""
        return self._names.count

    @property
    def sha256(self) -> str:
        """The hash of the names of all inputs so far, in order."""
        return self._names.sha256
