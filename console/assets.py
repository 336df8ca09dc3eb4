"""The console's files for browsers: its own, and deck.gl as the package `pydeck` ships it."""

import functools
import gzip
import hashlib
import importlib.util
from importlib.resources import files
from pathlib import Path

from coterie.domain import NotFoundError, UnavailableError

ASSETS = ("console.css", "console.js", "map.js", "mark.svg", "deck.js")
"""Every file there is."""


@functools.cache
def read_asset(name: str) -> bytes:
    """A file's content.

    Raises:
        NotFoundError: there is none of this name.
        UnavailableError: deck.gl is not installed.
    """
    if name not in ASSETS:
        raise NotFoundError(f"there is no file {name}")
    return _deck() if name == "deck.js" else files("coterie.console").joinpath("static", name).read_bytes()


@functools.cache
def compressed_asset(name: str) -> bytes:
    """The same, gzipped."""
    return gzip.compress(read_asset(name), mtime=0)


@functools.cache
def asset_address(name: str) -> str:
    """The address of a file; it changes with the content, so that browsers may keep it for good."""
    return f"/static/{name}?{hashlib.sha256(read_asset(name)).hexdigest()[:12]}"


def _deck() -> bytes:
    # Found without being imported: the package itself is for notebooks.
    found = importlib.util.find_spec("pydeck")
    if found is None or found.origin is None:
        raise UnavailableError("deck.gl is not installed: pip install 'coterie[server]' brings it with pydeck")
    content = (Path(found.origin).parent / "nbextension" / "static" / "index.js").read_bytes()
    # Its map of sources, 19 MB, is not served.
    return content.replace(b"//# sourceMappingURL=index.js.map", b"")
