"""Roles, callers and tokens to wire messages and back."""

from collections.abc import Iterable

from coterie.client.wire import enum_from_wire
from coterie.domain import Caller, Credential, Role, Token
from coterie.v1 import access_service_pb2

ROLES = {item: access_service_pb2.Role.Value(f"ROLE_{item.name}") for item in Role}
CREDENTIALS = {item: access_service_pb2.Credential.Value(f"CREDENTIAL_{item.name}") for item in Credential}


def roles_to_wire(roles: Iterable[Role]) -> list[access_service_pb2.Role.ValueType]:
    """Roles, in a fixed order."""
    return sorted(ROLES[role] for role in roles)


def roles_from_wire(numbers: Iterable[int]) -> frozenset[Role]:
    """Roles.

    Raises:
        InvalidError: a number that is none.
    """
    return frozenset(enum_from_wire(ROLES, number, "roles") for number in numbers)


def token_to_wire(token: Token) -> access_service_pb2.Token:
    """A token without its secret."""
    return access_service_pb2.Token(
        token_id=token.token_id,
        name=token.name,
        roles=roles_to_wire(token.roles),
        created_us=token.created_us,
        expires_us=token.expires_us,
        revoked_us=token.revoked_us,
        last_used_us=token.last_used_us,
    )


def token_from_wire(message: access_service_pb2.Token) -> Token:
    """A token without its secret."""
    return Token(
        message.token_id,
        message.name,
        roles_from_wire(message.roles),
        message.created_us,
        message.expires_us,
        message.revoked_us,
        message.last_used_us,
    )


def caller_to_wire(caller: Caller) -> access_service_pb2.WhoAmIResponse:
    """Who calls."""
    return access_service_pb2.WhoAmIResponse(
        name=caller.name,
        roles=roles_to_wire(caller.roles),
        credential=CREDENTIALS[caller.credential],
        token_id=caller.token_id,
    )


def caller_from_wire(message: access_service_pb2.WhoAmIResponse) -> Caller:
    """Who calls."""
    return Caller(
        message.name,
        roles_from_wire(message.roles),
        enum_from_wire(CREDENTIALS, message.credential, "credential"),
        message.token_id,
    )
