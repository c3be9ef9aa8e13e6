"""Losses of `celebattr train` on the rarest ten attributes; see benchmarks/README.md."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch

from celebattr.data.dataset import FaceDataset
from celebattr.data.layouts.load import load_dataset
from celebattr.data.loader import batches
from celebattr.evaluation import calibration, metrics
from celebattr.models import bundle, decisions
from celebattr.models.preprocess import Preprocess, PreprocessSpec
from celebattr.models.weights import bundle_file
from celebattr.training.losses import Loss, make_loss
from celebattr.training.optimizer import lr_factor

LOSSES = (
    *(("bce", None), ("bce", "5"), ("bce", "auto"), ("focal", None), ("focal", "auto")),
    *(("asymmetric", None), ("asymmetric", "auto")),
)
EPOCHS, BATCH, RATE, DECAY = 8, 64, 1e-3, 0.05
SEEDS = 3
RAREST = 10
SHOWN = (
    *("mean_attribute_accuracy", "mean_balanced_accuracy", "mean_f1"),
    *("mean_average_precision", "mean_expected_calibration_error"),
)


@torch.inference_mode()
def features(images: FaceDataset, weights: str, kept: Path) -> torch.Tensor:
    """Return what the backbone of a bundle makes of images, [N, F]; keep it in a file."""
    if kept.is_file():
        return torch.from_numpy(np.load(kept))
    card, network = bundle.load(bundle_file(weights))
    preprocess = Preprocess(PreprocessSpec.from_dict(card.preprocess))
    network = network.place(torch.device("cpu"))
    parts = []
    for batch in batches(images, np.arange(len(images)), batch_size=64, workers=2):
        inputs = preprocess(torch.from_numpy(batch.crops_BHWC))
        with torch.autocast("cpu", dtype=torch.bfloat16):
            made = network.backbone(inputs.contiguous(memory_format=torch.channels_last))
        parts.append(made.float().flatten(1))
    np.save(kept, torch.cat(parts).numpy())
    return torch.cat(parts)


def main() -> None:
    """Print the figures of each loss, and how far they spread over seeds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--weights", default="celebattr-resnet50slim")
    parser.add_argument("--train", type=int, default=12_000, help="training images")
    parser.add_argument("--keep", type=Path, required=True, help="folder of the features")
    options = parser.parse_args()
    torch.set_num_threads(1)  # steps are small
    dataset = load_dataset([options.data])
    train = dataset.split("train")
    train = train.share(options.train / len(train), seed=0)
    parts = {"train": train} | {name: dataset.split(name) for name in ("validation", "test")}
    x = {
        name: features(part, options.weights, options.keep / f"{name}.npy")
        for name, part in parts.items()
    }
    y = {name: torch.from_numpy(part.targets_NA).float() for name, part in parts.items()}
    shares_A, test = train.shares_A, parts["test"]
    rare_R = np.argsort(shares_A)[:RAREST]
    names = [dataset.attributes[i] for i in rare_R]
    print(", ".join(f"{n} {100 * s:.1f}" for n, s in zip(names, shares_A[rare_R], strict=True)))
    print({name: len(part) for name, part in parts.items()}, "positives of the ten in test:")
    print(y["test"][:, rare_R].sum(dim=0).int().tolist())
    for name, pos_weight in LOSSES:
        loss = make_loss(name, pos_weight, shares_A)
        rows: dict[str, list[list[float]]] = {}
        for seed in range(SEEDS):
            head = fitted(loss, x["train"], y["train"], seed)
            with torch.no_grad():
                logits = {n: head(x[n]).numpy() for n in ("validation", "test")}
            # As after an epoch of training.
            targets_NA = parts["validation"].targets_NA
            scale_A = calibration.fit_scale(logits["validation"], targets_NA, shares_A)
            p = {n: decisions.probabilities(z, scale_A, 0 * scale_A) for n, z in logits.items()}
            f1_A = decisions.thresholds(decisions.counts(p["validation"], targets_NA), "f1")
            for point, thresholds_A in (("0.5", np.full_like(f1_A, 0.5)), ("f1", f1_A)):
                present_NA = decisions.present(p["test"], thresholds_A)
                report = metrics.report(
                    p["test"][:, rare_R],
                    test.targets_NA[:, rare_R],
                    present_NA[:, rare_R],
                    names,
                    split="test",
                    weights="",
                )
                right = float((present_NA == test.targets_NA).mean())
                figures = [100 * getattr(report, shown) for shown in SHOWN]
                rows.setdefault(point, []).append([*figures, 100 * right])
        for point, values in rows.items():
            mean, spread = np.mean(values, axis=0), np.ptp(values, axis=0)
            told = "  ".join(f"{m:5.2f} ({s:.2f})" for m, s in zip(mean, spread, strict=True))
            print(f"{name:10} {pos_weight or '':5} {point:3}  {told}", flush=True)


def fitted(loss: Loss, x_NF: torch.Tensor, y_NA: torch.Tensor, seed: int) -> torch.nn.Module:
    """Train the last layer of a network on its features, with the optimiser of a run."""
    torch.manual_seed(seed)
    head = torch.nn.Linear(x_NF.shape[1], y_NA.shape[1])
    torch.nn.init.normal_(head.weight, std=0.01)
    torch.nn.init.zeros_(head.bias)
    optimizer = torch.optim.AdamW(head.parameters(), lr=RATE, weight_decay=DECAY)
    batches = [rows for _ in range(EPOCHS) for rows in torch.randperm(len(x_NF)).split(BATCH)]
    for step, rows_B in enumerate(batches):
        optimizer.param_groups[0]["lr"] = RATE * lr_factor(step, len(batches), 0.15)
        optimizer.zero_grad()
        loss(head(x_NF[rows_B]), y_NA[rows_B]).backward()
        optimizer.step()
    return head


if __name__ == "__main__":
    main()
