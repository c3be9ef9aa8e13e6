"""Faces in a photo are found and brought into CelebA's frame."""
