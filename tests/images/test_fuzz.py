"""Images of every accepted format and mode, damaged by chance, and noise.

The same examples in each run. CELEBATTR_FUZZ_EXAMPLES=20000 makes hypothesis try that many in each
of the two tests instead of 400; 1,000 take about 2 seconds each.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

EXAMPLES = int(os.environ.get("CELEBATTR_FUZZ_EXAMPLES", "400"))
Files = dict[str, bytes]
Judge = Callable[[bytes], tuple[object, ...]]

ABSURD = (b"\0", b"\xff\xff", b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\1\0\0\0")
place = st.integers(0, 2**16 - 1)  # of 2^16 parts of the file
damage = st.one_of(
    st.tuples(st.just("cut"), place),
    st.tuples(st.just("flip"), place, st.integers(0, 7)),
    st.tuples(st.just("flip near the start"), st.integers(0, 199), st.integers(0, 7)),
    st.tuples(st.just("write"), place, st.one_of(st.sampled_from(ABSURD), st.binary(max_size=9))),
    st.tuples(st.just("write near the start"), st.integers(0, 199), st.sampled_from(ABSURD)),
    st.tuples(st.just("swap"), place, place, place),
    st.tuples(st.just("repeat"), place, place, st.integers(2, 50)),
    st.tuples(st.just("splice"), place, place, st.integers(0, 99)),
)


def damaged(data: bytes, how: tuple[object, ...], files: list[bytes]) -> bytes:
    kind, first, *rest = how
    assert isinstance(first, int)
    near = str(kind).endswith("start")
    a = min(first, len(data)) if near else first * len(data) >> 16
    if kind == "cut":
        return data[:a]
    if str(kind).startswith("flip"):
        return data[:a] + bytes(v ^ 1 << int(str(rest[0])) for v in data[a : a + 1]) + data[a + 1 :]
    if str(kind).startswith("write"):
        assert isinstance(rest[0], bytes)
        return data[:a] + rest[0] + data[a + len(rest[0]) :]
    b, c = (int(str(value)) for value in (*rest, 0)[:2])
    if kind == "splice":
        other = files[c % len(files)]
        return data[:a] + other[b * len(other) >> 16 :]
    b = b * len(data) >> 16
    if kind == "swap":  # segments change places
        x, y, z = sorted((a, b, c * len(data) >> 16))
        return data[:x] + data[y:z] + data[x:y] + data[z:]
    x, y = sorted((a, b))
    return (data[:x] + data[x:y] * c + data[y:])[: 1 << 20]  # four of these would be gigabytes


fuzz = settings(
    derandomize=True,
    database=None,
    deadline=None,
    max_examples=EXAMPLES,
    suppress_health_check=list(HealthCheck),
)


@fuzz
@given(which=st.integers(0, 99), how=st.lists(damage, min_size=1, max_size=4))
def test_damaged_files_open_or_are_refused(
    good_files: Files, judge: Judge, which: int, how: list[tuple[object, ...]]
) -> None:
    files = list(good_files.values())
    data = files[which % len(files)]
    for one in how:
        data = damaged(data, one, files)
    judge(data)


STARTS = (
    b"",
    b"\xff\xd8\xff",
    b"\x89PNG\r\n\x1a\n",
    b"GIF89a",
    b"BM",
    b"II*\0\x08\0\0\0",
    b"MM\0*",
    b"II+\0\x08\0\0\0",
    b"RIFF\xff\0\0\0WEBPVP8X",
    b"RIFF\xff\0\0\0WEBPVP8L",
    b"RIFF\xff\0\0\0WEBPVP8 ",
)


@fuzz
@given(start=st.sampled_from(STARTS), rest=st.binary(max_size=300))
def test_noise_behind_a_good_start_is_refused(judge: Judge, start: bytes, rest: bytes) -> None:
    judge(start + rest)
