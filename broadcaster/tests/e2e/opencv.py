"""Reads pictures from a stream with OpenCV and prints the sequence number that each one shows.

usage: opencv.py URL COUNT

The bar code is read after its description in common/src/barcode.rs, not with its code: that way
the description is tested too.
"""

import sys

import cv2
import numpy

ROWS, COLUMNS = 4, 32
STAMP_BYTES = 12


def sequence_number(picture):
    """The number in the bar code of a picture."""
    return bar_code(picture)[0]


def bar_code(picture):
    """The number in the bar code of a picture, and when it was captured in seconds since 1970."""
    height, width = picture.shape[:2]
    cell = min(width // COLUMNS, height // 16)
    left = (width - COLUMNS * cell) // 2
    code = picture[height - ROWS * cell :, left : left + COLUMNS * cell]
    middle = slice(cell // 3, cell - cell // 3)
    cells = code.reshape(ROWS, cell, COLUMNS, cell, -1)[:, middle, :, middle]
    stamp = numpy.packbits(cells.mean(axis=(1, 3, 4)) >= 128).tobytes()
    if crc32c(stamp[:STAMP_BYTES]) != int.from_bytes(stamp[STAMP_BYTES:], "big"):
        raise ValueError(f"no bar code that passes its check: {stamp.hex()}")
    return int.from_bytes(stamp[:5], "big"), int.from_bytes(stamp[5:12], "big") / 1e6


def crc32c(data):
    """CRC-32C (Castagnoli, RFC 3720) in its reflected form."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def main():
    url, count = sys.argv[1:]
    stream = cv2.VideoCapture(url)
    for _ in range(int(count)):
        is_read, picture = stream.read()
        if not is_read:
            sys.exit(f"no picture from {url}")
        print(sequence_number(picture))


if __name__ == "__main__":
    main()
