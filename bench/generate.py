"""Contexts for bench/run, made from a seed: the same seed gives the same bytes.

Sizes of the many files follow a log-normal distribution with the mean and deviation of the logarithms of the
sizes in examples/node-web's node_modules (8,512 files of up to 9 MB, 6.88 and 1.73, median 0.9 kB, 11 files a folder),
scaled so that the sum is the wanted one.
"""

import os
import random

WORDS = ("layer lake silt year ice water clay winter summer record step key tree stage build cache digest "
         "import export function return const value option error result string number object").split()


def small(folder):
    os.makedirs(folder)
    for number in range(10):
        with open(f"{folder}/file{number}.txt", "w") as file:
            file.write(f"file {number}\n" * 20)


def many_files(folder, count, total, seed=1):
    """`count` files with `total` bytes, 11 a folder, folders three deep, like a package tree."""
    source = random.Random(seed)
    sizes = [min(source.lognormvariate(6.88, 1.73), 9e6) for _ in range(count)]
    factor = total / sum(sizes)
    text = " ".join(source.choices(WORDS, k=200_000)).encode()
    for number, size in enumerate(sizes):
        group, pack = number // 1100, number // 11
        if number % 11 == 0:
            os.makedirs(f"{folder}/g{group}/p{pack}/lib", exist_ok=True)
        start = source.randrange(len(text) // 2)
        size = int(size * factor) + 1
        body = (text[start:] * (size // (len(text) - start) + 1))[:size]
        with open(f"{folder}/g{group}/p{pack}/lib/m{number}.js", "wb") as file:
            file.write(f"/* {seed} {number} */".encode() + body)


def half_random(folder, total, seed=1):
    """Two files of `total` bytes together: one that does not compress, one of words."""
    os.makedirs(folder, exist_ok=True)
    source = random.Random(seed)
    block = 1 << 20
    with open(f"{folder}/random.bin", "wb") as file:
        for _ in range(total // 2 // block):
            file.write(source.randbytes(block))
    with open(f"{folder}/text.txt", "wb") as file:
        for _ in range(total // 2 // block):
            words = " ".join(source.choices(WORDS, k=200_000)).encode()
            file.write(words[:block].ljust(block))
