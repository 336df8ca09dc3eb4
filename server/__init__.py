"""The service: store, model, indexes and detection composed, behind gRPC.

`serve` runs it in the foreground, `local_server` inside another process, `Engine` without a socket.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from coterie.server.app import local_server, serve
    from coterie.server.config import Config, load_config
    from coterie.server.engine import Engine
    from coterie.server.search import Query

__all__ = ["Config", "Engine", "Query", "load_config", "local_server", "serve"]

_HOMES = {
    "Config": "config",
    "Engine": "engine",
    "Query": "search",
    "load_config": "config",
    "local_server": "app",
    "serve": "app",
}


def __getattr__(name: str) -> Any:
    # Loaded when first asked for: where only the client is installed, the command must start to say what is missing.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
