"""The system of record: exchanges, texts, vectors, runs, findings, reviews and audit, on SQLite."""

from coterie.store.backup import DatabaseFacts, check_database
from coterie.store.database import migrations
from coterie.store.inspection import DatabaseLook, look_into, sqlite_build
from coterie.store.proof import Belongings
from coterie.store.protocol import Store
from coterie.store.sqlite_store import SqliteStore, open_store

__all__ = [
    "Belongings",
    "DatabaseFacts",
    "DatabaseLook",
    "SqliteStore",
    "Store",
    "check_database",
    "look_into",
    "migrations",
    "open_store",
    "sqlite_build",
]
