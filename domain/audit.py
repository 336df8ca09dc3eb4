"""The audit record: who did what to what, in a chain that shows whether it was changed."""

import hashlib
import hmac
import json
from dataclasses import dataclass

ALLOWED = "allowed"
"""Outcome of what was let through; what fails after that gets a second row with the name of its status."""

DENIED = "denied"
"""Outcome of what the caller's roles do not cover."""

CHAIN_START = bytes(32)
"""What stands for the hash before the first row's."""


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """Something that a caller did, or was refused.

    Attributes:
        time_us: when, microseconds since 1970-01-01 UTC.
        actor: the caller's name.
        action: a snake_case word, such as `read_finding`.
        subject: the id of what it was done to, never text; empty where there is none.
        roles: the caller's, names in order, commas between.
        credential: how the caller was known, and the id of its token.
        request_id: of the call.
        outcome: `allowed`, `denied`, or a status such as `not_found`.
    """

    time_us: int
    actor: str
    action: str
    subject: str = ""
    roles: str = ""
    credential: str = ""
    request_id: str = ""
    outcome: str = ALLOWED


@dataclass(frozen=True, slots=True)
class AuditRow:
    """An entry in its place.

    Attributes:
        audit_id: grows from row to row; a gap means nothing.
        subject_digest: keyed hash of the subject, which outlives the subject's erasure; empty for an empty subject.
        keyed: whether the hash is an HMAC under the audit key.
        hash: 32 bytes; empty in a row that is not in the chain.
    """

    audit_id: int
    entry: AuditEntry
    subject_digest: bytes
    keyed: bool
    hash: bytes

    def expected_hash(self, before: bytes, key: bytes | None) -> bytes:
        """SHA-256, or HMAC-SHA256 under `key`, of the hash before and the row: 32 bytes.

        The row is covered as a JSON array in ASCII without spaces: audit_id, time_us, actor, roles, credential, action,
        subject digest in hexadecimal, request_id, outcome, keyed. The subject itself is not covered, so that it can be
        erased and the chain stays whole; its digest is.
        """
        entry = self.entry
        covered = (
            self.audit_id,
            entry.time_us,
            entry.actor,
            entry.roles,
            entry.credential,
            entry.action,
            self.subject_digest.hex(),
            entry.request_id,
            entry.outcome,
            int(self.keyed),
        )
        content = before + json.dumps(covered, separators=(",", ":")).encode("ascii")
        return hmac.digest(key, content, "sha256") if key is not None else hashlib.sha256(content).digest()


@dataclass(frozen=True, slots=True)
class AuditVerdict:
    """What came of walking the chain.

    Attributes:
        rows: rows that were looked at.
        head_id, head: the last row and its hash in hexadecimal; 0 and empty in an empty record.
        broken_id: the first row that is not as it was written, 0 for none.
        problem: what is wrong there; empty for nothing.
        keyed_from: the first row under the audit key, 0 for none.
        noted_id: the row whose hash was noted elsewhere; 0 where none was given, or it is not there.
    """

    rows: int
    head_id: int = 0
    head: str = ""
    broken_id: int = 0
    problem: str = ""
    keyed_from: int = 0
    noted_id: int = 0

    @property
    def whole(self) -> bool:
        """Whether nothing was found wrong."""
        return not self.problem
