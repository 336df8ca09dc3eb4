"""A failed call's whole answer: the status of `client.wire`'s table, and rich details beside it."""

import logging
import secrets

import grpc
from google.protobuf import any_pb2, duration_pb2
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from coterie.client.wire import error_metadata, status_of
from coterie.domain import CoterieError, InvalidError, OverloadedError
from coterie.server.logs import emit, origin
from coterie.server.requests import request_id

_LOGGER = logging.getLogger(__name__)

DOMAIN = "coterie"
"""The `domain` of every ErrorInfo."""

Metadata = tuple[tuple[str, str | bytes], ...]


def failure(error: CoterieError) -> tuple[grpc.StatusCode, str, Metadata]:
    """Code, message and trailing metadata of an error.

    The metadata holds a google.rpc.Status with ErrorInfo, RequestInfo, BadRequest or RetryInfo, and the plain keys of
    `client.wire.error_metadata` for callers that do not read that.
    """
    code = status_of(error)
    number: int = code.value[0]
    rich = rpc_status.to_status(status_pb2.Status(code=number, message=str(error), details=_details(error, code)))
    return code, str(error), (*rich.trailing_metadata, *error_metadata(error))


def unexpected(error: Exception, method: str) -> CoterieError:
    """An internal error that tells the caller an incident id; where it came from is only logged.

    In a call the incident is the request's id.
    """
    incident = request_id() or secrets.token_hex(6)
    emit(_LOGGER, logging.ERROR, "unexpected_error", incident=incident, method=method, origin=origin(error))
    return CoterieError(f"internal error, incident {incident}: the server's log tells where it happened")


def _details(error: CoterieError, code: grpc.StatusCode) -> list[any_pb2.Any]:
    reason = error.reason if isinstance(error, InvalidError) else code.name
    details = [_packed(error_details_pb2.ErrorInfo(reason=reason.upper(), domain=DOMAIN))]
    if isinstance(error, InvalidError) and error.field:
        violation = error_details_pb2.BadRequest.FieldViolation(field=error.field, description=str(error))
        details.append(_packed(error_details_pb2.BadRequest(field_violations=[violation])))
    if isinstance(error, OverloadedError):
        delay = duration_pb2.Duration()
        delay.FromMilliseconds(round(error.retry_after_s * 1_000))
        details.append(_packed(error_details_pb2.RetryInfo(retry_delay=delay)))
    if request_id():
        details.append(_packed(error_details_pb2.RequestInfo(request_id=request_id())))
    return details


def _packed(message: Message) -> any_pb2.Any:
    packed = any_pb2.Any()
    packed.Pack(message)
    return packed
