"""One MiniLM for all tests of this folder."""

import pytest

from coterie.domain import UnavailableError
from coterie.embedder import Encoder, load_encoder


@pytest.fixture(scope="session")
def minilm() -> Encoder:
    try:
        return load_encoder(device="cpu")
    except UnavailableError as error:
        pytest.skip(str(error))
