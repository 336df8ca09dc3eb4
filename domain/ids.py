"""Names of things. Distinct types, so that a row number cannot pass for a text id."""

from typing import NewType

Sequence = NewType("Sequence", int)
"""Position of an exchange in the store's log: strictly increasing, never reused; 0 means none."""

TextId = NewType("TextId", int)
"""A distinct normalised text."""

ExchangeId = NewType("ExchangeId", str)
AccountId = NewType("AccountId", str)
RunId = NewType("RunId", str)
FindingId = NewType("FindingId", str)
FamilyId = NewType("FamilyId", str)
