from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from celebattr.errors import UsageError
from celebattr.options import Url, from_keywords, parse_location
from celebattr.training.config import TrainConfig


def test_an_address_keeps_its_slashes_and_a_file_is_a_path() -> None:
    assert parse_location("s3://bucket/a/b/") == Url("s3://bucket/a/b")
    assert Url("s3://bucket/a/b").name == "b"
    assert parse_location("file:///tmp/x") == Path("/tmp/x")
    assert parse_location("file://localhost/tmp/x") == Path("/tmp/x")
    for text in ("drawn", "a/b", "C://x", "/s3:/x", "./s3://x"):
        assert parse_location(text) == Path(text)
    assert not isinstance(parse_location("C://x"), Url)


def test_python_gives_numbers_of_any_kind_and_lists_for_text() -> None:
    given = {"epochs": np.int64(3), "lr": np.float32(0.5), "ema": 0, "pos_weight": 5, "head": 64}
    config = from_keywords(TrainConfig, given | {"attributes": ["Male", "Young"], "data": "x"})
    assert (config.epochs, config.lr, config.ema) == (3, 0.5, 0.0)
    assert (config.pos_weight, config.head, config.attributes) == ("5", "64", "Male,Young")
    assert config.data == (Path("x"),)
    assert '"epochs": 3,' in config.to_json()


@pytest.mark.parametrize(
    ("name", "value", "kind"),
    [
        ("epochs", "many", "a whole number"),
        ("epochs", True, "a whole number"),
        ("lr", "0.1", "a number"),
        ("resume", "yes", "true or false"),
        ("output", None, "a path"),
        ("teacher", [1], "a path"),
        ("arch", False, "text"),
    ],
)
def test_a_value_of_another_type_is_named(name: str, value: object, kind: str) -> None:
    with pytest.raises(UsageError, match=f"--{name} .* is not {kind}"):
        from_keywords(TrainConfig, {name: value})
