"""The service: store, model, indexes and detection composed, behind gRPC.

`serve` runs it in the foreground, `local_server` inside another process, `Engine` without a socket.
"""

from coterie.server.app import local_server, serve
from coterie.server.config import Config, load_config
from coterie.server.engine import Engine
from coterie.server.search import Query

__all__ = ["Config", "Engine", "Query", "load_config", "local_server", "serve"]
