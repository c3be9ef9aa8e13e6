"""A small training, a plain report, an untrained bundle: tests change what they are about."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from celebattr.attributes import CELEBA
from celebattr.data import synthetic
from celebattr.evaluation.report import EvalReport
from celebattr.training.config import TrainConfig


def config(data: Path, out: Path, **changes: Any) -> TrainConfig:
    """Two epochs of three steps of the linear model."""
    settings: dict[str, Any] = {
        "data": (data,),
        "output": out,
        "arch": "linear",
        "backbone_weights": "none",
        "epochs": 2,
        "batch_size": 12,
        "limit": 36,
        "image_size": "32x32",
        "precision": "float32",
        "device": "cpu",
        "ema": 0.9,
    }
    return TrainConfig(**settings | changes)


def report(**changes: Any) -> EvalReport:
    """Figures by hand, of no attribute."""
    figures: dict[str, Any] = {
        "images": 200,
        "split": "test",
        "weights": "celebattr-resnet50",
        "mean_attribute_accuracy": 0.91,
        "majority_accuracy": 0.8,
        "mean_balanced_accuracy": 0.75,
        "mean_f1": None,
        "mean_average_precision": 0.7,
        "mean_roc_auc": 0.9,
        "mean_expected_calibration_error": 0.01,
        "mean_brier_score": 0.025,
        "exact_match_ratio": 0.05,
        "attributes": (),
    }
    return EvalReport(**figures | changes)


def save_bundle(path: Path, arch: str) -> Path:
    """An untrained network whose logits spread as those of a trained one do."""
    import torch

    from celebattr.models import bundle, registry
    from celebattr.models.card import Card
    from celebattr.models.preprocess import PreprocessSpec

    torch.manual_seed(0)
    card = Card("tiny", arch, CELEBA, PreprocessSpec((48, 40)).to_dict())
    network = registry.build(card.spec)
    torch.nn.init.normal_(network.head[-1].weight, std=0.05)  # type: ignore[arg-type]
    bundle.save(path, card, network.state_dict())
    return path


def scene(present: set[str], seed: int) -> Image.Image:
    """A photo of 480x360 pixels with one drawn face somewhere in it, which the detector finds."""
    rng = np.random.default_rng(seed)
    photo = Image.new("RGB", (480, 360), tuple(rng.integers(60, 200, 3).tolist()))
    draw = ImageDraw.Draw(photo)
    for left, top, *colour in rng.integers(0, 255, (6, 5)).tolist():
        draw.rectangle((left * 2, top, left * 2 + 60, top + 60), fill=tuple(colour))
    face = synthetic.draw_face(present, rng)
    face.thumbnail((round(rng.uniform(170, 218)),) * 2)
    room = (photo.width - face.width, photo.height - face.height)
    photo.paste(face, tuple(rng.integers(0, room).tolist()))
    return photo.filter(ImageFilter.GaussianBlur(1))
