"""The calls about tokens and callers, as values like those of `calls`."""

from collections.abc import Iterable

from coterie.client import wire_access
from coterie.client.calls import REGISTER_TIMEOUT_S, Call, Listing, Page
from coterie.domain import AuditRow, AuditVerdict, Caller, Role, Token
from coterie.v1 import access_service_pb2, types_pb2


def mint_token(name: str, roles: Iterable[Role], expires_us: int) -> Call[tuple[str, Token]]:
    """Makes a token; sent again it would make a second, and the first would be lost."""
    request = access_service_pb2.MintTokenRequest(
        name=name, roles=wire_access.roles_to_wire(roles), expires_us=expires_us
    )
    return Call(
        lambda stubs, timeout_s: stubs.access.MintToken(request, timeout=timeout_s),
        lambda answer: (answer.secret, wire_access.token_from_wire(answer.token)),
        repeatable=False,
    )


def list_tokens(limit: int) -> Listing[Token]:
    """Tokens, newest first."""
    return Listing(lambda _, page: _tokens_page(page), limit)


def _tokens_page(page: types_pb2.PageRequest) -> Call[Page[Token]]:
    request = access_service_pb2.ListTokensRequest(page=page)
    return Call(
        lambda stubs, timeout_s: stubs.access.ListTokens(request, timeout=timeout_s),
        lambda answer: Page(
            [wire_access.token_from_wire(token) for token in answer.tokens], answer.page.next_page_token
        ),
    )


def revoke_token(token_id: str) -> Call[Token]:
    """Ends a token."""
    request = access_service_pb2.RevokeTokenRequest(token_id=token_id)
    return Call(
        lambda stubs, timeout_s: stubs.access.RevokeToken(request, timeout=timeout_s),
        lambda answer: wire_access.token_from_wire(answer.token),
    )


def who_am_i() -> Call[Caller]:
    """Who the service takes the caller for."""
    request = access_service_pb2.WhoAmIRequest()
    return Call(lambda stubs, timeout_s: stubs.access.WhoAmI(request, timeout=timeout_s), wire_access.caller_from_wire)


def list_audit(since_us: int, action: str, actor: str, limit: int) -> Listing[AuditRow]:
    """Rows of the audit record, newest first."""
    return Listing(lambda _, page: _audit_page(since_us, action, actor, page), limit)


def _audit_page(since_us: int, action: str, actor: str, page: types_pb2.PageRequest) -> Call[Page[AuditRow]]:
    request = access_service_pb2.ListAuditRequest(since_us=since_us, action=action, actor=actor, page=page)
    return Call(
        lambda stubs, timeout_s: stubs.access.ListAudit(request, timeout=timeout_s),
        lambda answer: Page([wire_access.audit_row_from_wire(row) for row in answer.rows], answer.page.next_page_token),
    )


def verify_audit(noted_head: str) -> Call[AuditVerdict]:
    """Walks the audit chain, which takes longer than a usual call."""
    request = access_service_pb2.VerifyAuditRequest(noted_head=noted_head)
    return Call(
        lambda stubs, timeout_s: stubs.access.VerifyAudit(request, timeout=max(timeout_s, REGISTER_TIMEOUT_S)),
        wire_access.verdict_from_wire,
    )
