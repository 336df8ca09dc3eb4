"""Roles, callers and tokens to wire messages and back."""

from collections.abc import Iterable

from coterie.client.wire import enum_from_wire
from coterie.domain import AuditEntry, AuditRow, AuditVerdict, Caller, Credential, Role, Token
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


def audit_row_to_wire(row: AuditRow) -> access_service_pb2.AuditRow:
    """A row of the audit record; the digest of its subject stays behind."""
    entry = row.entry
    return access_service_pb2.AuditRow(
        audit_id=row.audit_id,
        time_us=entry.time_us,
        actor=entry.actor,
        roles=entry.roles,
        credential=entry.credential,
        action=entry.action,
        subject=entry.subject,
        request_id=entry.request_id,
        outcome=entry.outcome,
        hash=row.hash.hex(),
    )


def audit_row_from_wire(message: access_service_pb2.AuditRow) -> AuditRow:
    """A row of the audit record, without the digest of its subject."""
    entry = AuditEntry(
        message.time_us,
        message.actor,
        message.action,
        message.subject,
        message.roles,
        message.credential,
        message.request_id,
        message.outcome,
    )
    return AuditRow(message.audit_id, entry, b"", False, bytes.fromhex(message.hash))


def verdict_to_wire(verdict: AuditVerdict) -> access_service_pb2.VerifyAuditResponse:
    """What came of walking the chain."""
    return access_service_pb2.VerifyAuditResponse(
        rows=verdict.rows,
        head_id=verdict.head_id,
        head=verdict.head,
        broken_id=verdict.broken_id,
        problem=verdict.problem,
        keyed_from=verdict.keyed_from,
        noted_id=verdict.noted_id,
    )


def verdict_from_wire(message: access_service_pb2.VerifyAuditResponse) -> AuditVerdict:
    """What came of walking the chain."""
    return AuditVerdict(
        message.rows,
        message.head_id,
        message.head,
        message.broken_id,
        message.problem,
        message.keyed_from,
        message.noted_id,
    )
