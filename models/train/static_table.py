"""Distils the static table `models/words.bin`: what all-MiniLM-L6-v2 makes of each word alone, in fewer numbers.

As in model2vec (https://github.com/MinishLab/model2vec): every token of the vocabulary goes through the model by itself,
principal components keep 128 of the 384 numbers, and a token weighs the more the rarer it is. Rows are 8-bit with one
scale each. Takes about two minutes; `src/vectors/table.rs` has the layout of the file.
"""

import pathlib
import struct
import sys

import numpy as np
import xxhash

from minilm import MiniLm

DIMENSIONS, SLOTS, BATCH = 128, 1 << 16, 1024


def main():
    model = MiniLm()
    vectors = np.concatenate([one_batch(model, start) for start in range(0, len(model.vocabulary()), BATCH)])
    centred = vectors - vectors.mean(0)
    _, _, components = np.linalg.svd(centred, full_matrices=False)
    rows = centred @ components[:DIMENSIONS].T
    rows *= np.log(np.arange(len(rows)) + 2)[:, None]  # the vocabulary is in order of frequency
    plain = lambda token: token.removeprefix("##").isalpha() and token.isascii()
    kept = [(token, i) for token, i in model.vocabulary() if plain(token)]
    pathlib.Path(sys.argv[1]).write_bytes(file_of([token for token, _ in kept], rows[[i for _, i in kept]]))


def one_batch(model, start):
    tokens = np.arange(start, min(start + BATCH, len(model.vocabulary())))
    ids = np.stack([np.full_like(tokens, 101), tokens, np.full_like(tokens, 102)], axis=1)
    return model.forward(ids, np.ones_like(ids, bool))


def file_of(tokens, rows):
    text = [token.encode() for token in tokens]
    offsets = np.cumsum([0] + [len(t) for t in text])
    slots = np.zeros(SLOTS, np.uint16)
    for number, word in enumerate(text):
        at = xxhash.xxh3_64_intdigest(word) % SLOTS
        while slots[at]:
            at = (at + 1) % SLOTS
        slots[at] = number + 1
    scales = np.abs(rows).max(1) / 127
    small = np.rint(rows / scales[:, None]).astype(np.int8)
    head = b"FARTVEC1" + struct.pack("<III", DIMENSIONS, len(text), SLOTS)
    parts = [offsets.astype("<u4"), b"".join(text), slots.astype("<u2"), scales.astype("<f4"), small]
    return head + b"".join(p if isinstance(p, bytes) else p.tobytes() for p in parts)


if __name__ == "__main__":
    main()
