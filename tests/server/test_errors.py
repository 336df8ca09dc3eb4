"""Every error has a status, and says in its details what a caller can do."""

import logging

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2

from coterie.client import wire
from coterie.domain import CoterieError, InvalidError, NotFoundError, OverloadedError
from coterie.server.errors import failure, unexpected


def every_error(kind: type[CoterieError] = CoterieError) -> list[type[CoterieError]]:
    return [kind, *(error for child in kind.__subclasses__() for error in every_error(child))]


EVERY_ERROR = [kind for kind in every_error() if kind.__module__ == CoterieError.__module__]
"""The tree of the domain; what other rooms add to it never leaves them, or takes its ancestor's status."""


def rich(metadata: object) -> status_pb2.Status:
    return status_pb2.Status.FromString(dict(metadata)["grpc-status-details-bin"])  # type: ignore[call-overload]


@pytest.mark.parametrize("kind", EVERY_ERROR)
def test_every_class_has_a_status_of_its_own(kind: type[CoterieError]) -> None:
    code, message, metadata = failure(kind("what happened"))
    assert kind in wire.STATUS_OF_ERROR
    assert code is wire.STATUS_OF_ERROR[kind]
    assert message == "what happened"
    status = rich(metadata)
    assert (status.code, status.message) == (code.value[0], "what happened")
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    assert info.domain == "coterie"


def test_no_two_classes_share_a_status() -> None:
    assert len(set(wire.STATUS_OF_ERROR.values())) == len(wire.STATUS_OF_ERROR) == len(EVERY_ERROR)


def test_a_bad_field_is_named_in_the_details() -> None:
    code, _, metadata = failure(InvalidError("k is 0", field="k", reason="bad_number"))
    violations = error_details_pb2.BadRequest()
    assert rich(metadata).details[1].Unpack(violations)
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert [(item.field, item.description) for item in violations.field_violations] == [("k", "k is 0")]


def test_overload_says_when_to_come_back() -> None:
    code, _, metadata = failure(OverloadedError("full", retry_after_s=1.5))
    retry = error_details_pb2.RetryInfo()
    assert rich(metadata).details[1].Unpack(retry)
    assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert retry.retry_delay.ToMilliseconds() == 1_500
    assert dict(metadata)["retry-after-ms"] == "1500"


def test_a_descendant_takes_its_ancestors_status() -> None:
    class NoSuchRunError(NotFoundError):
        """A kind of not found."""

    assert failure(NoSuchRunError("no"))[0] is grpc.StatusCode.NOT_FOUND


def test_an_unexpected_error_tells_an_incident_and_no_more(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR, "coterie"):
        try:
            raise KeyError("the secret prompt")
        except KeyError as error:
            known = unexpected(error, "/coterie.v1.SearchService/Search")
    incident = str(known).split("incident ")[1].split(":")[0]
    assert incident in caplog.text
    assert "KeyError" in caplog.text
    assert "test_errors.py" in caplog.text
    assert "secret" not in caplog.text + str(known)
