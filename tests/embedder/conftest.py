"""One of each packaged model for all tests of this folder."""

import pytest

from coterie.domain import UnavailableError
from coterie.embedder import MULTILINGUAL_MODEL, Encoder, load_encoder


@pytest.fixture(scope="session")
def minilm() -> Encoder:
    try:
        return load_encoder(device="cpu")
    except UnavailableError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def multilingual() -> Encoder:
    try:
        return load_encoder(MULTILINGUAL_MODEL)
    except UnavailableError as error:
        pytest.skip(str(error))
