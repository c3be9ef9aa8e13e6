"""Architectures: normalised images [B, 3, H, W] to logits [B, A]."""
