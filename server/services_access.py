"""Tokens, who a caller is, and the audit record."""

import re

from coterie.client import wire_access
from coterie.domain import InvalidError
from coterie.server.access import Guard, current_caller
from coterie.server.paging import page_key, page_size, page_token
from coterie.server.services import Context, Desk
from coterie.v1 import access_service_pb2, access_service_pb2_grpc, types_pb2

_HASH = re.compile(r"[0-9a-f]{64}")


class AccessService(access_service_pb2_grpc.AccessServiceServicer):
    """Says who may call."""

    def __init__(self, desk: Desk, guard: Guard) -> None:
        self._desk = desk
        self._guard = guard

    async def MintToken(
        self, request: access_service_pb2.MintTokenRequest, context: Context
    ) -> access_service_pb2.MintTokenResponse:
        """Makes a token; nothing but this answer ever holds it."""
        roles = wire_access.roles_from_wire(request.roles)
        await self._desk.audit(context, "mint_token", request.name)
        secret, token = await self._desk.call_quick(self._guard.mint, request.name, roles, request.expires_us)
        return access_service_pb2.MintTokenResponse(secret=secret, token=wire_access.token_to_wire(token))

    async def ListTokens(
        self, request: access_service_pb2.ListTokensRequest, context: Context
    ) -> access_service_pb2.ListTokensResponse:
        """Every token that was ever minted, newest first."""
        size = page_size(request.page)
        key = page_key(request.page, "tokens", [int, str])
        tokens = self._guard.tokens()
        if key is not None:
            tokens = [token for token in tokens if (token.created_us, token.token_id) < tuple(key)]
        page = tokens[:size]
        following = page_token("tokens", [page[-1].created_us, page[-1].token_id]) if len(tokens) > size else ""
        return access_service_pb2.ListTokensResponse(
            tokens=[wire_access.token_to_wire(token) for token in page],
            page=types_pb2.PageResponse(next_page_token=following),
        )

    async def RevokeToken(
        self, request: access_service_pb2.RevokeTokenRequest, context: Context
    ) -> access_service_pb2.RevokeTokenResponse:
        """Ends a token."""
        await self._desk.audit(context, "revoke_token", request.token_id)
        token = await self._desk.call_quick(self._guard.revoke, request.token_id)
        return access_service_pb2.RevokeTokenResponse(token=wire_access.token_to_wire(token))

    async def WhoAmI(
        self, request: access_service_pb2.WhoAmIRequest, context: Context
    ) -> access_service_pb2.WhoAmIResponse:
        """Who the service takes the caller for."""
        return wire_access.caller_to_wire(current_caller())

    async def ListAudit(
        self, request: access_service_pb2.ListAuditRequest, context: Context
    ) -> access_service_pb2.ListAuditResponse:
        """The audit record, newest first."""
        size = page_size(request.page)
        key = page_key(request.page, "audit", [int])
        await self._desk.audit(context, "list_audit")
        rows = await self._desk.call_quick(
            self._desk.engine.audit_rows,
            since_us=request.since_us,
            action=request.action,
            actor=request.actor,
            before=0 if key is None else int(key[0]),
            limit=size + 1,
        )
        page = rows[:size]
        following = page_token("audit", [page[-1].audit_id]) if len(rows) > size else ""
        return access_service_pb2.ListAuditResponse(
            rows=[wire_access.audit_row_to_wire(row) for row in page],
            page=types_pb2.PageResponse(next_page_token=following),
        )

    async def VerifyAudit(
        self, request: access_service_pb2.VerifyAuditRequest, context: Context
    ) -> access_service_pb2.VerifyAuditResponse:
        """Walks the audit chain."""
        if request.noted_head and not _HASH.fullmatch(request.noted_head):
            raise InvalidError("noted_head must be 64 hexadecimal digits, as verify printed it", field="noted_head")
        await self._desk.audit(context, "verify_audit")
        verdict = await self._desk.call(self._desk.engine.verify_audit, request.noted_head)
        return wire_access.verdict_to_wire(verdict)
