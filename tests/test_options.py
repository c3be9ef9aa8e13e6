from __future__ import annotations

from pathlib import Path

from celebattr.options import Url, parse_location


def test_an_address_keeps_its_slashes_and_a_file_is_a_path() -> None:
    assert parse_location("s3://bucket/a/b/") == Url("s3://bucket/a/b")
    assert Url("s3://bucket/a/b").name == "b"
    assert parse_location("file:///tmp/x") == Path("/tmp/x")
    assert parse_location("file://localhost/tmp/x") == Path("/tmp/x")
    for text in ("drawn", "a/b", "C://x", "/s3:/x", "./s3://x"):
        assert parse_location(text) == Path(text)
    assert not isinstance(parse_location("C://x"), Url)
