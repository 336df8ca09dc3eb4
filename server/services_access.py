"""Tokens, and who a caller is."""

from coterie.client import wire_access
from coterie.server.access import Guard, current_caller
from coterie.server.paging import page_key, page_size, page_token
from coterie.server.services import Context, Desk
from coterie.v1 import access_service_pb2, access_service_pb2_grpc, types_pb2


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
