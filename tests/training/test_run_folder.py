from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

import pytest
import samples

from celebattr.errors import MissingExtraError
from celebattr.training import loop, run_folder
from celebattr.training.config import TrainConfig


def config(data: Path, out: Path, **changes: Any) -> TrainConfig:
    """A run of a second."""
    return samples.config(data, out, **{"limit": 12, "ema": 0.0} | changes)


def test_the_page_is_written_after_each_epoch_and_shows_examples_at_the_end(
    drawn_celeba: Path, tmp_path: Path
) -> None:
    pages: list[str] = []

    class Watch(loop.Logger):
        def epoch(self, row: dict[str, Any]) -> None:
            pages.append((tmp_path / "run/report.html").read_text())

    loop.train(config(drawn_celeba, tmp_path / "run"), Watch())
    under_way, done = pages
    assert "Epoch 1 of 2 is done" in under_way
    assert "data:image/jpeg" not in under_way
    assert "Done: 2 epochs" in done
    assert done.count("data:image/jpeg") == 2 * run_folder.EXAMPLES
    assert "CPU" in done


def test_a_run_that_patience_ended_is_done_on_its_page(drawn_celeba: Path, tmp_path: Path) -> None:
    still = {"lr": 0.0, "head_lr": 0.0, "patience": 1, "epochs": 6}
    loop.train(config(drawn_celeba, tmp_path / "run", **still))
    page = (tmp_path / "run/report.html").read_text()
    assert "Done: 2 of 6 epochs, ended by --patience" in page
    assert page.count("data:image/jpeg") == 2 * run_folder.EXAMPLES


def test_no_picture_leaves_where_none_may(drawn_celeba: Path, tmp_path: Path) -> None:
    loop.train(config(drawn_celeba, tmp_path / "run", epochs=1, thumbnails=False))
    page = (tmp_path / "run/report.html").read_text()
    assert "Examples of errors" in page
    assert "data:image" not in page
    assert "Most surely wrong" in page


def test_tensorboard_gets_the_scalars_and_a_resumed_run_goes_on(
    drawn_celeba: Path, tmp_path: Path
) -> None:
    pytest.importorskip("tensorboard", reason="celebattr[tensorboard] is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    class Cut(loop.Logger):
        def epoch(self, row: dict[str, Any]) -> None:
            raise RuntimeError("power failure")

    settings = config(drawn_celeba, tmp_path / "run", tensorboard=True)
    with pytest.raises(RuntimeError, match="power failure"):
        loop.train(settings, Cut())
    loop.train(dataclasses.replace(settings, resume=True))
    board = EventAccumulator(str(tmp_path / "run/tensorboard"))
    board.Reload()
    assert set(board.Tags()["scalars"]) == set(run_folder.SCALARS)
    losses = board.Scalars("train_loss")
    assert [one.step for one in losses] == [1, 2]
    lines = (tmp_path / "run/history.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    assert [one.value for one in losses] == pytest.approx([row["train_loss"] for row in rows])


def test_without_tensorboard_nothing_begins(
    drawn_celeba: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(MissingExtraError, match=r"celebattr\[tensorboard\]"):
        loop.train(config(drawn_celeba, tmp_path / "run", tensorboard=True))
    assert not (tmp_path / "run").exists()
