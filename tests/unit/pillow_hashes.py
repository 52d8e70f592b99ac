#!/usr/bin/env python3
"""Prints the answers of the_bytes_are_those_of_pillow in test_letterbox.c (python3 -m pip install pillow)."""

from PIL import Image

CASES = [
    # source, input
    (192, 108, 64, 64), (810, 1080, 640, 640), (1920, 1080, 640, 384), (960, 540, 640, 384),
    (50, 37, 64, 64), (3, 5, 64, 96), (641, 427, 96, 64), (1000, 999, 33, 17), (65, 65, 64, 64),
    (64, 64, 64, 64), (2000, 8, 64, 64),
]  # fmt: skip


def noise(width, height):
    value = width * 31 + height
    levels = bytearray()
    for _ in range(3 * width * height):
        value = (value * 1664525 + 1013904223) & 0xFFFFFFFF
        levels.append(value >> 24)
    return Image.frombytes("RGB", (width, height), bytes(levels))


def fnv1a(data):
    value = 2166136261
    for byte in data:
        value = (value ^ byte) * 16777619 & 0xFFFFFFFF
    return value


for width, height, input_width, input_height in CASES:
    scale = min(input_width / width, input_height / height)
    size = [max(1, round(side * scale)) for side in (width, height)]
    scaled = noise(width, height).resize(size, Image.Resampling.BILINEAR)
    print(f"        {{{width}, {height}, {input_width}, {input_height}, {fnv1a(scaled.tobytes())}U}},")
