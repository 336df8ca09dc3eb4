"""The typed client: all that a calling service installs. Takes and returns the values of `coterie.domain`."""

from coterie.client.aio import AsyncClient
from coterie.client.channel import Tls
from coterie.client.ingest import IngestSummary
from coterie.client.retry import RetryPolicy
from coterie.client.sync import Client

__all__ = ["AsyncClient", "Client", "IngestSummary", "RetryPolicy", "Tls"]
