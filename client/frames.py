"""What a client returns, as pandas DataFrames; needs the extra `notebooks`, and nothing else of the client does.

Every function takes what `Client` or, once awaited, `AsyncClient` answers. Columns are the same whether there are rows
or not. Ids and words are strings, counts int64, shares, distances and p-values float64 (NaN for none), times timestamps
in UTC to the microsecond (NaT for none). What has keys of its own, such as attributes, is a column for each key.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from coterie.domain import Evidence, Exchange, Family, Finding, Hit, Run, SearchResult

if TYPE_CHECKING:
    import pandas as pd

_Rows = Sequence[Mapping[str, Any]]

_FINDINGS = {
    "finding_id": "string",
    "kind": "string",
    "severity": "string",
    "confidence": "float64",
    "title": "string",
    "accounts": "int64",
    "exchanges": "int64",
    "joined_since": "int64",
    "lineage": "string",
    "review": "string",
    "assignee": "string",
    "provisional": "bool",
    "first_seen": "time",
    "last_seen": "time",
    "run_id": "string",
}
_ACCOUNTS = {
    "finding_id": "string",
    "account_id": "string",
    "exchanges": "int64",
    "distinct_texts": "int64",
    "share_of_traffic": "float64",
    "first_seen": "time",
    "last_seen": "time",
}
_EVIDENCE = {
    "finding_id": "string",
    "speaks": "string",
    "name": "string",
    "value": "float64",
    "p_value": "float64",
    "summary": "string",
    "statistic": "string",
    "null": "string",
}
_EXCHANGES = {
    "exchange_id": "string",
    "account_id": "string",
    "time": "time",
    "prompt": "string",
    "response": "string",
    "system": "string",
    "conversation_id": "string",
    "turn": "float64",
    "model": "string",
    "input_tokens": "float64",
    "output_tokens": "float64",
    "cost_usd": "float64",
}
_RUNS = {
    "run_id": "string",
    "state": "string",
    "trigger": "string",
    "stage": "string",
    "progress": "float64",
    "error": "string",
    "created": "time",
    "started": "time",
    "finished": "time",
    "since": "time",
    "until": "time",
}
_FAMILIES = {
    "family_id": "string",
    "texts": "int64",
    "exchanges": "int64",
    "accounts": "int64",
    "joined": "int64",
    "lineage": "string",
    "gate_distance": "float64",
    "exemplar": "string",
    "first_seen": "time",
    "last_seen": "time",
    "run_id": "string",
}


def findings(found: tuple[str, Sequence[Finding]] | Iterable[Finding]) -> "pd.DataFrame":
    """A row a finding, of `list_findings` as it is or of findings; `accounts` and `exchanges` are counts."""
    rows = [
        {
            **_of(item, _FINDINGS, skip=("accounts", "exchanges", "joined_since")),
            "accounts": len(item.accounts),
            "exchanges": sum(account.exchanges for account in item.accounts),
            "joined_since": len(item.joined_since),
        }
        for item in _listed(found)
    ]
    return _frame(rows, _FINDINGS)


def accounts(found: Finding | tuple[str, Sequence[Finding]] | Iterable[Finding]) -> "pd.DataFrame":
    """A row an account of one finding, or of each of several."""
    rows = [
        {"finding_id": item.finding_id, **_of(account, _ACCOUNTS, skip=("finding_id",))}
        for item in _findings(found)
        for account in item.accounts
    ]
    return _frame(rows, _ACCOUNTS)


def evidence(found: Finding | tuple[str, Sequence[Finding]] | Iterable[Finding]) -> "pd.DataFrame":
    """A row a reason of one finding, or of each of several; `speaks` is "for" or "against" it."""

    def row(finding: Finding, item: Evidence, speaks: str) -> dict[str, Any]:
        own = _of(item, _EVIDENCE, skip=("finding_id", "speaks"))
        return {"finding_id": finding.finding_id, "speaks": speaks, **own}

    rows = []
    for finding in _findings(found):
        rows += [row(finding, item, "for") for item in finding.evidence]
        rows += [row(finding, item, "against") for item in finding.counter_evidence]
    return _frame(rows, _EVIDENCE)


def exchanges(found: SearchResult | Iterable[Exchange | Hit]) -> "pd.DataFrame":
    """A row an exchange; of the hits of a search with their `similarity`. Labels are columns `attributes.KEY`.

    What an exchange does not know (turn, tokens, price) is NaN.
    """
    hits = list(found.hits if isinstance(found, SearchResult) else found)
    similar = isinstance(found, SearchResult) or any(isinstance(item, Hit) for item in hits)
    rows, labels = [], []
    for item in hits:
        exchange = item.exchange if isinstance(item, Hit) else item
        row = _of(exchange, _EXCHANGES)
        if similar:
            row["similarity"] = item.similarity if isinstance(item, Hit) else None
        rows.append(row)
        labels.append(exchange.attributes)
    columns = {"similarity": "float64", **_EXCHANGES} if similar else _EXCHANGES
    return _widened(rows, columns, "attributes", labels, "string")


def runs(found: Iterable[Run]) -> "pd.DataFrame":
    """A row a run, or a row each time that `watch_run` told of one. Measures are columns `measures.NAME`."""
    listed = list(found)
    rows = [_of(run, _RUNS) for run in listed]
    return _widened(rows, _RUNS, "measures", [run.measures for run in listed], "float64")


def families(found: tuple[str, Sequence[Family]] | Iterable[Family]) -> "pd.DataFrame":
    """A row a family, of `list_families` as it is or of families."""
    return _frame([_of(item, _FAMILIES) for item in _listed(found)], _FAMILIES)


def _listed(found: Any) -> Iterable[Any]:
    """The values of a listing, which comes with its run's id, or of anything else that holds them."""
    values: Iterable[Any] = found
    if isinstance(found, tuple) and len(found) == 2 and isinstance(found[0], str):
        values = found[1]
    return values


def _findings(found: Any) -> Iterable[Finding]:
    return (found,) if isinstance(found, Finding) else _listed(found)


def _of(value: Any, columns: Mapping[str, str], *, skip: Sequence[str] = ()) -> dict[str, Any]:
    """The fields of a value that are columns; times are in the fields that end in `_us`."""
    return {
        name: getattr(value, f"{name}_us" if kind == "time" else name)
        for name, kind in columns.items()
        if name not in skip
    }


def _widened(
    rows: list[dict[str, Any]], columns: Mapping[str, str], prefix: str, extra: Sequence[Mapping[str, Any]], kind: str
) -> "pd.DataFrame":
    """A frame with a column for each key that any row has."""
    keys = sorted({key for own in extra for key in own})
    for row, own in zip(rows, extra, strict=True):
        row.update({f"{prefix}.{key}": own.get(key) for key in keys})
    return _frame(rows, {**columns, **{f"{prefix}.{key}": kind for key in keys}})


def _frame(rows: _Rows, columns: Mapping[str, str]) -> "pd.DataFrame":
    import pandas as pd

    def column(name: str, kind: str) -> Any:
        values = [row[name] for row in rows]
        if kind == "time":
            stamps = pd.to_datetime([value or None for value in values], unit="us", utc=True)
            return pd.Series(stamps, dtype="datetime64[us, UTC]")
        return pd.Series([str(value) for value in values] if _is_word(values) else values, dtype=kind)

    return pd.DataFrame({name: column(name, kind) for name, kind in columns.items()})


def _is_word(values: Sequence[Any]) -> bool:
    return bool(values) and all(isinstance(value, str) for value in values)
