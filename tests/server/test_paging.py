"""Page sizes and tokens."""

import base64

import pytest

from coterie.domain import LIMITS, InvalidError
from coterie.server.paging import page_key, page_size, page_token
from coterie.v1.types_pb2 import PageRequest


def test_a_token_leads_back_to_its_key() -> None:
    token = page_token("runs", [12, "run-é"])
    assert page_key(PageRequest(page_token=token), "runs", [int, str]) == [12, "run-é"]
    assert page_key(PageRequest(), "runs", [int, str]) is None


@pytest.mark.parametrize(
    "token",
    [
        "rubbish!",
        "cnVucw==",
        page_token("findings", [12, "x"]),
        page_token("runs", ["12", "x"]),
        page_token("runs", [12]),
        base64.urlsafe_b64encode(b"[" * 5_000).decode(),
        base64.urlsafe_b64encode(b"\xff\xfe").decode(),
    ],
)
def test_any_other_token_is_refused(token: str) -> None:
    with pytest.raises(InvalidError) as caught:
        page_key(PageRequest(page_token=token), "runs", [int, str])
    assert caught.value.reason == "bad_page_token"


def test_page_sizes() -> None:
    assert page_size(PageRequest()) == LIMITS.page_size_default
    assert page_size(PageRequest(page_size=LIMITS.page_size_max)) == LIMITS.page_size_max
    for size in (-1, LIMITS.page_size_max + 1):
        with pytest.raises(InvalidError):
            page_size(PageRequest(page_size=size))
