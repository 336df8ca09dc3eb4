"""The system of record: exchanges, texts, vectors, runs, findings, reviews and audit, on SQLite."""

from coterie.store.protocol import Store
from coterie.store.sqlite_store import SqliteStore, open_store

__all__ = ["SqliteStore", "Store", "open_store"]
