"""Texts to unit vectors: encoders, token-budget batching, devices, and the golden self-test.

Importing this package does not import torch; `load_encoder` does, when the model needs it.
"""

from coterie.embedder.encoder import Encoder, ObservedEncoder
from coterie.embedder.golden import self_test
from coterie.embedder.hashing import HashEncoder
from coterie.embedder.loading import DEFAULT_MODEL, MULTILINGUAL_MODEL, is_encoder_name, load_encoder

__all__ = [
    "DEFAULT_MODEL",
    "MULTILINGUAL_MODEL",
    "Encoder",
    "HashEncoder",
    "ObservedEncoder",
    "is_encoder_name",
    "load_encoder",
    "self_test",
]
