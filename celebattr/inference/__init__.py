"""Photos to predictions, one or a million, through torch or onnxruntime."""
