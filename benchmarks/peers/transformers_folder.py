"""Hugging Face's image-classification pipeline on a list of photos, sigmoid over 40 labels.

python transformers_folder.py @LIST
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from celebattr.models import resnet  # noqa: F401 - torchvision beside a CPU-only torch
from transformers import ConvNextImageProcessor, ResNetConfig, ResNetForImageClassification
from transformers import pipeline as make_pipeline

photos = Path(sys.argv[1][1:]).read_text().splitlines()
# Of random weights, so that nothing is downloaded: the time is the same.
config = ResNetConfig(num_labels=40, problem_type="multi_label_classification")
pipe = make_pipeline(
    "image-classification",
    model=ResNetForImageClassification(config).eval(),
    image_processor=ConvNextImageProcessor(size={"shortest_edge": 224}),
    batch_size=32,
)
for name, row in zip(photos, pipe(photos, top_k=40), strict=True):
    print(json.dumps({"path": name, "probabilities": row}))
