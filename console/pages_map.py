"""The map of a run's texts: its page, and its points as packed arrays."""

import asyncio
import gzip
import json

import numpy as np
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from coterie.console.forms import query_form
from coterie.console.guard import CONTENT_SECURITY_POLICY
from coterie.console.sessions import Session
from coterie.console.web import Console
from coterie.domain import MapState, TextMap

FAMILIES_LISTED = 200
_FINDINGS_MAX = 1_000
# deck.gl looks at a picture of one pixel to learn what the browser can read.
_POLICY = CONTENT_SECURITY_POLICY.replace("img-src 'self'", "img-src 'self' data:")


async def map_page(console: Console, request: Request, session: Session) -> Response:
    """The frame of the map; its points are fetched by the page. What it shows stands in tables beside it."""
    (_, findings), (_, families) = await asyncio.gather(
        session.client.list_findings(limit=_FINDINGS_MAX), session.client.list_families(limit=FAMILIES_LISTED)
    )
    response = console.page(
        "map.html",
        session,
        area="map",
        findings=findings,
        families=families,
        chosen=query_form(request).text("finding"),
    )
    response.headers["content-security-policy"] = _POLICY
    return response


async def map_data(console: Console, request: Request, session: Session) -> Response:
    """The points; 202 and the state while there are none yet."""
    found = await session.client.map()
    if found.state is not MapState.READY:
        return JSONResponse({"state": found.state.value, "error": found.error, "texts": found.texts}, status_code=202)
    content = await asyncio.to_thread(lambda: gzip.compress(packed(found), compresslevel=1))
    return Response(content, media_type="application/octet-stream", headers={"content-encoding": "gzip"})


def packed(found: TextMap) -> bytes:
    """A map for the page's script, little-endian.

    The length of a JSON head as uint32, the head, padded to 8 bytes together; then text ids as float64[n], positions as
    float32[n, 2], families as int32[n] and findings as int32[n].
    """
    head = json.dumps(
        {
            "run_id": found.run_id,
            "points": len(found.text_ids),
            "texts": found.texts,
            "families": found.family_ids,
            "findings": found.finding_ids,
        }
    ).encode()
    head += b" " * (-(len(head) + 4) % 8)
    return b"".join(
        (
            np.uint32(len(head)).tobytes(),
            head,
            found.text_ids.astype("<f8").tobytes(),
            found.positions.astype("<f4").tobytes(),
            found.family.astype("<i4").tobytes(),
            found.finding.astype("<i4").tobytes(),
        )
    )
