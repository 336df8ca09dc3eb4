"""Pseudonyms: accounts, organisations and means of payment go by a keyed hash of their name, where a key is configured.

The names never reach the store. A caller may go on using them: what a caller asks by is hashed in the same way.
"""

import base64
import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from coterie.domain import AccountId, ConflictError, Exchange, SearchFilter, Slice
from coterie.server.keys import read_key_file
from coterie.store import Store

HASHED_ATTRIBUTES: Mapping[str, str] = {"organisation": "org", "payment": "pay"}
"""Attributes that name a customer, and what their pseudonyms begin with. A network (`asn`) names nobody, and an analyst
needs to read which one it is."""

_ACCOUNT = "acct"
_HASH_BYTES = 20
_SETTING = "pseudonym_check"
_CLEAR = "clear"
_PSEUDONYM = re.compile(rf"{_ACCOUNT}-[a-z2-7]{{32}}")


class Pseudonyms:
    """Turns names into pseudonyms; without a key it leaves them as they are."""

    def __init__(self, key: bytes | None) -> None:
        self._key = key

    @classmethod
    def of_store(cls, store: Store, key_file: str) -> "Pseudonyms":
        """Those of a data folder, which keeps to the key, or to the names, that it began with.

        Args:
            key_file: path; "" for none.

        Raises:
            ConflictError: the folder began with another key, with none, or with one.
            UnavailableError: the key file cannot be used.
        """
        pseudonyms = cls(read_key_file(Path(key_file)) if key_file else None)
        check = pseudonyms._check()
        bound = store.setting(_SETTING)
        if bound is None and store.log_position()[0]:  # from before there were pseudonyms
            bound = _CLEAR
            store.put_setting(_SETTING, bound)
        elif bound != check and not store.log_position()[0]:  # nobody is stored yet
            bound = check
            store.put_setting(_SETTING, bound)
        if bound == check:
            return pseudonyms
        if bound == _CLEAR:
            raise ConflictError(
                "this data folder holds accounts by their names: leave pseudonym_key_file out, or ingest again into a "
                "new folder"
            )
        if check == _CLEAR:
            raise ConflictError(
                "this data folder holds pseudonyms: name the key file that it began with in pseudonym_key_file"
            )
        raise ConflictError(
            f"{key_file} is not the key that this data folder began with: name that one in pseudonym_key_file, or "
            "ingest again into a new folder"
        )

    def account(self, name: str) -> AccountId:
        """How an account is stored: its pseudonym. What is a pseudonym already stays, so that it can be asked by."""
        if self._key is None or _PSEUDONYM.fullmatch(name):
            return AccountId(name)
        return AccountId(self._hashed(_ACCOUNT, name))

    def exchange(self, exchange: Exchange) -> Exchange:
        """The exchange as it is stored. An account whose name looks like a pseudonym is hashed like every other."""
        if self._key is None:
            return exchange
        return replace(
            exchange,
            account_id=AccountId(self._hashed(_ACCOUNT, exchange.account_id)),
            attributes=self.attributes(exchange.attributes),
        )

    def attributes(self, attributes: Mapping[str, str]) -> Mapping[str, str]:
        """Labels as they are stored; an empty value says nothing and stays empty."""
        if self._key is None or not HASHED_ATTRIBUTES.keys() & attributes.keys():
            return attributes
        return {
            name: self._hashed(HASHED_ATTRIBUTES[name], value)
            if name in HASHED_ATTRIBUTES and value and not _is_hashed(name, value)
            else value
            for name, value in attributes.items()
        }

    def filter(self, search_filter: SearchFilter) -> SearchFilter:
        """A filter by names as one by what is stored."""
        if self._key is None:
            return search_filter
        return replace(
            search_filter,
            accounts=tuple(self.account(name) for name in search_filter.accounts),
            attributes=self.attributes(search_filter.attributes),
        )

    def slice(self, part: Slice) -> Slice:
        """Likewise of a run's slice."""
        if self._key is None:
            return part
        return replace(
            part,
            accounts=tuple(self.account(name) for name in part.accounts),
            attributes=self.attributes(part.attributes),
        )

    def _check(self) -> str:
        """What tells one key from another, and tells nothing of it."""
        if self._key is None:
            return _CLEAR
        return hmac.new(self._key, b"coterie pseudonym check", hashlib.sha256).hexdigest()[:32]

    def _hashed(self, kind: str, name: str) -> str:
        """HMAC-SHA256 of kind and name, 160 bits of it in base32: one name gives another hash as an organisation."""
        assert self._key is not None, "names are hashed only under a key"
        digest = hmac.new(self._key, f"{kind}\0{name}".encode(), hashlib.sha256).digest()[:_HASH_BYTES]
        return f"{kind}-{base64.b32encode(digest).decode().lower()}"


def _is_hashed(name: str, value: str) -> bool:
    return re.fullmatch(rf"{HASHED_ATTRIBUTES[name]}-[a-z2-7]{{32}}", value) is not None
