"""A training step as timm's train.py takes it, with AMP and channels_last, on a folder of photos.

    python timm_train.py FOLDER ARCH HEIGHTxWIDTH BATCH STEPS DEVICE WORKERS

timm's network, transforms for training, loader with its prefetcher, optimizer and average of
weights. Prints images a second over the steps, the first five left out.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import torch
from PIL import Image

from celebattr.models import resnet  # noqa: F401 - torchvision beside a CPU-only torch
import timm
from timm.data import create_loader
from timm.optim import create_optimizer_v2
from timm.utils import ModelEmaV3

WARM = 5
folder, arch, size, batch, steps, device, workers = sys.argv[1:]
height, width = (int(side) for side in size.split("x"))
kind = device.partition(":")[0]


class Photos(torch.utils.data.Dataset):
    """Photos of a folder with targets by chance; the loader gives it its transform."""

    transform = None

    def __init__(self) -> None:
        self.names = sorted(Path(folder).rglob("*.jpg"))

    def __len__(self) -> int:
        return int(batch) * (int(steps) + WARM)

    def __getitem__(self, index: int) -> tuple[object, torch.Tensor]:
        image = Image.open(self.names[index % len(self.names)]).convert("RGB")
        return self.transform(image), torch.randint(0, 2, (40,)).float()


model = timm.create_model(arch, num_classes=40).to(device, memory_format=torch.channels_last)
optimizer = create_optimizer_v2(model, opt="adamw", lr=3e-4, weight_decay=0.05)
average = ModelEmaV3(model, decay=0.998)
loss_of = torch.nn.BCEWithLogitsLoss()
loader = create_loader(
    Photos(),
    (3, height, width),
    int(batch),
    is_training=True,
    use_prefetcher=kind == "cuda",
    num_workers=int(workers),
    device=torch.device(device),
    persistent_workers=False,
)
model.train()
for step, (images, targets) in enumerate(loader):
    if step == WARM:
        if kind == "cuda":
            torch.cuda.synchronize()
        start = time.perf_counter()
    images = images.to(device).contiguous(memory_format=torch.channels_last)
    with torch.autocast(kind, dtype=torch.bfloat16, enabled=kind == "cuda"):
        loss = loss_of(model(images), targets.to(device))
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    average.update(model, step=step)
if kind == "cuda":
    torch.cuda.synchronize()
print(int(batch) * int(steps) / (time.perf_counter() - start))
