"""The console's web server: who holds connections open without asking anything is let go."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from urllib.parse import urlsplit

import httpx
import pytest

from coterie.server import Config
from coterie.server import console as console_module
from coterie.server.console import ConsoleServer

PATIENCE_S = 0.5


@pytest.fixture
async def url(config: Config, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[str]:
    monkeypatch.setattr(console_module, "_PATIENCE_S", PATIENCE_S)
    monkeypatch.setattr(console_module, "_CONNECTIONS_MAX", 4)
    made = ConsoleServer(Config(data_dir=config.data_dir, console_listen="127.0.0.1:0"), "unix:/nowhere")
    yield await made.start()
    await made.stop()


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"GET /static/mark.svg HTTP/1.1\r\nhost: 127.0.0.1\r\nx-slow: ",
        b"POST /sign-in HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 100\r\n\r\ntoken=",
    ],
)
async def test_who_does_not_finish_a_request_is_let_go(url: str, sent: bytes) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", urlsplit(url).port)
    writer.write(sent)
    with suppress(ConnectionResetError):
        assert await asyncio.wait_for(reader.read(), 20) == b""
    writer.close()


@pytest.mark.parametrize("connections", [6, 12])
async def test_others_are_served_once_the_idle_are_gone(url: str, connections: int) -> None:
    held = [await asyncio.open_connection("127.0.0.1", urlsplit(url).port) for _ in range(connections)]
    async with httpx.AsyncClient(base_url=url) as browser, asyncio.timeout(20):
        statuses = [await status(browser)]
        while statuses[-1] != 200:
            await asyncio.sleep(PATIENCE_S)
            statuses.append(await status(browser))
    assert statuses[0] == (503 if connections == 6 else 0)
    for _, writer in held:
        writer.close()


async def status(browser: httpx.AsyncClient) -> int:
    try:
        return (await browser.get("/static/mark.svg", headers={"connection": "close"})).status_code
    except httpx.TransportError:
        return 0
