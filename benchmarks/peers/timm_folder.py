"""timm's model, transforms and loader on a folder, as its inference script uses them.

python timm_folder.py FOLDER HEIGHTxWIDTH OUT.csv
"""

from __future__ import annotations

import csv
import sys

from celebattr.models import resnet  # noqa: F401 - torchvision beside a CPU-only torch
import timm
import torch
from timm.data import create_dataset, create_loader, resolve_data_config

folder, size, out = sys.argv[1:]
height, width = (int(side) for side in size.split("x"))
model = timm.create_model("resnet50", num_classes=40).eval()
model = model.to(memory_format=torch.channels_last)
config = resolve_data_config({"input_size": (3, height, width)}, model=model)
dataset = create_dataset("", root=folder)
loader = create_loader(
    dataset,
    batch_size=32,
    use_prefetcher=False,
    num_workers=2,
    device=torch.device("cpu"),
    **config,
)
rows = []
with torch.inference_mode():
    for images, _ in loader:
        images = images.contiguous(memory_format=torch.channels_last)
        rows.extend(torch.sigmoid(model(images)).tolist())
with open(out, "w", newline="") as file:  # noqa: PTH123 - as the script has it
    names = dataset.filenames(basename=False)
    csv.writer(file).writerows([name, *row] for name, row in zip(names, rows, strict=True))
