"""The plain script with torch and torchvision: photos in, 40 probabilities each out.

    python plain_torch.py WEIGHTS.safetensors HEIGHTxWIDTH PHOTO [PHOTO ...]

Eager, channels last, batches of 32 that Pillow decodes in the same thread; bfloat16 where the CPU
multiplies it. A list of photos may come from a file: @LIST.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch
from celebattr.models import resnet  # noqa: F401 - torchvision beside a CPU-only torch
import torchvision
from PIL import Image
from safetensors.torch import load_file
from torchvision import transforms

weights, size, *photos = sys.argv[1:]
if photos[0].startswith("@"):
    photos = Path(photos[0][1:]).read_text().splitlines()
model = torchvision.models.resnet50(num_classes=40)
model.load_state_dict(load_file(weights))
model = model.eval().to(memory_format=torch.channels_last)
prepare = transforms.Compose(
    [
        transforms.Resize([int(side) for side in size.split("x")]),
        transforms.ToTensor(),
        transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
    ]
)
has = torch.cpu.get_capabilities()
half = has.get("amx_bf16") or (has.get("avx512_bf16") and "Intel" not in has["cpu_name"])
with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=bool(half)):
    for start in range(0, len(photos), 32):
        names = photos[start : start + 32]
        images = torch.stack([prepare(Image.open(name).convert("RGB")) for name in names])
        shares = torch.sigmoid(model(images.contiguous(memory_format=torch.channels_last)).float())
        for name, row in zip(names, shares.tolist(), strict=True):
            print(json.dumps({"path": name, "probabilities": row}))
