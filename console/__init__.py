"""The web console: pages for analysts. It reaches the service as any client does, with the person's own token."""

from coterie.console.app import make_app
from coterie.console.settings import ConsoleSettings
from coterie.console.web import Console

__all__ = ["Console", "ConsoleSettings", "make_app"]
