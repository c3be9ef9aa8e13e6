"""The least that onnxruntime can do: load a bundle, decode one photo, run it once.

python bare_onnxruntime.py BUNDLE.onnx PHOTO
"""

from __future__ import annotations

import sys

import numpy as np
import onnxruntime
from PIL import Image

session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
crop_HWC = np.asarray(Image.open(sys.argv[2]).convert("RGB").resize((178, 218)))
print(session.run(None, {session.get_inputs()[0].name: crop_HWC[None]})[0].tolist())
