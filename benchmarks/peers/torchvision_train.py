"""A training step as torchvision's reference recipe takes it, on a folder of photos.

    python torchvision_train.py FOLDER HEIGHTxWIDTH BATCH STEPS

ResNet50 in float32, SGD, photos decoded and augmented one at a time in two workers of a DataLoader,
as references/classification/train.py has it. Prints images a second over the steps, the first two
left out.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import torch
from PIL import Image

from celebattr.models import resnet  # noqa: F401 - torchvision beside a CPU-only torch
import torchvision
from torchvision import transforms

folder, size, batch, steps = sys.argv[1:]
sides = [int(side) for side in size.split("x")]
prepare = transforms.Compose(
    [
        transforms.RandomResizedCrop(sides),
        transforms.RandomHorizontalFlip(),
        transforms.PILToTensor(),
        transforms.ConvertImageDtype(torch.float),
        transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
    ]
)


class Photos(torch.utils.data.Dataset):
    """Photos of a folder with targets by chance."""

    def __init__(self) -> None:
        self.names = sorted(Path(folder).rglob("*.jpg"))

    def __len__(self) -> int:
        return int(batch) * (int(steps) + 2)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        image = Image.open(self.names[index % len(self.names)]).convert("RGB")
        return prepare(image), torch.randint(0, 2, (40,)).float()


model = torchvision.models.resnet50(num_classes=40)
loss_of = torch.nn.BCEWithLogitsLoss()
optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4)
loader = torch.utils.data.DataLoader(
    Photos(), batch_size=int(batch), shuffle=True, num_workers=2, pin_memory=False
)
for step, (images, targets) in enumerate(loader):
    if step == 2:
        start = time.perf_counter()
    loss = loss_of(model(images), targets)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
print(int(batch) * int(steps) / (time.perf_counter() - start))
