"""Reference values of CelebA: checksums and frequencies to hold a copy against."""

from __future__ import annotations

import hashlib
from pathlib import Path

MD5 = {
    "img_align_celeba.zip": "00d2c5bc6d35e252742224ab0c1e8fcb",
    "list_attr_celeba.txt": "75e246fa4810816ffd6ee81facbd244c",
    "list_eval_partition.txt": "d32c9cbf5e040fd4025c592c306e6668",
    "identity_CelebA.txt": "32bd1bd63d3c78cd57e08160ec5ed1e2",
    "list_landmarks_align_celeba.txt": "cc24ecafdb5b50baae59b03474781f8c",
}
"""MD5 of CelebA's own files.

Source: torchvision 0.26, torchvision/datasets/celeba.py."""

TEST_PERCENT = {
    "5_o_Clock_Shadow": 9.99,
    "Arched_Eyebrows": 28.44,
    "Attractive": 49.58,
    "Bags_Under_Eyes": 20.26,
    "Bald": 2.12,
    "Bangs": 15.57,
    "Big_Lips": 32.70,
    "Big_Nose": 21.20,
    "Black_Hair": 27.16,
    "Blond_Hair": 13.33,
    "Blurry": 5.06,
    "Brown_Hair": 17.97,
    "Bushy_Eyebrows": 12.95,
    "Chubby": 5.30,
    "Double_Chin": 4.57,
    "Eyeglasses": 6.46,
    "Goatee": 4.58,
    "Gray_Hair": 3.19,
    "Heavy_Makeup": 40.50,
    "High_Cheekbones": 48.18,
    "Male": 38.65,
    "Mouth_Slightly_Open": 49.51,
    "Mustache": 3.87,
    "Narrow_Eyes": 14.87,
    "No_Beard": 85.37,
    "Oval_Face": 29.56,
    "Pale_Skin": 4.21,
    "Pointy_Nose": 28.57,
    "Receding_Hairline": 8.49,
    "Rosy_Cheeks": 7.17,
    "Sideburns": 4.64,
    "Smiling": 50.03,
    "Straight_Hair": 20.99,
    "Wavy_Hair": 36.40,
    "Wearing_Earrings": 20.66,
    "Wearing_Hat": 4.20,
    "Wearing_Lipstick": 52.19,
    "Wearing_Necklace": 13.79,
    "Wearing_Necktie": 7.01,
    "Young": 75.71,
}
"""Positives of each attribute on CelebA's test split, in percent."""

TRAIN_PERCENT = {
    "Big_Lips": 24.1,
    "Black_Hair": 23.9,
    "Brown_Hair": 20.4,
    "Narrow_Eyes": 11.6,
    "Wavy_Hair": 31.9,
    "Wearing_Lipstick": 47.0,
}
VALIDATION_PERCENT = {
    "Big_Lips": 15.3,
    "Black_Hair": 20.9,
    "Brown_Hair": 24.1,
    "Narrow_Eyes": 7.5,
    "Wavy_Hair": 27.7,
    "Wearing_Lipstick": 44.6,
}
"""Positives on the validation split, of the six attributes that differ most between splits."""

PERCENT = {"train": TRAIN_PERCENT, "validation": VALIDATION_PERCENT, "test": TEST_PERCENT}


def md5(path: Path) -> str:
    """Return the MD5 of a file, which guards against accidents, not attacks."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
