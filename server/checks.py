"""What callers send, checked against `LIMITS`; exchanges have their own check in `domain`."""

import re
from collections.abc import Sequence

from coterie.domain import (
    LIMITS,
    BenchmarkItem,
    InvalidError,
    NewRule,
    ParameterSet,
    Review,
    ReviewAction,
    SearchFilter,
    Slice,
    StreamPart,
    normalise,
    printable,
)

_FILE_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*")

GRAPH_K_PER_SAMPLE = 3
"""Neighbours that the graph keeps for each unit of min_samples: with fewer, cores lie farther than they do."""


def check_part(part: StreamPart) -> None:
    """Check the name of a stream and where a batch stands in it. Raises InvalidError."""
    check_name(part.stream_id, "stream_id")
    if not 0 <= part.start < part.stop < 2**62:
        raise InvalidError(
            f"the batch is exchanges [{part.start}, {part.stop}) of its stream, which is no part of one",
            field="stop",
        )


def check_name(value: str, field: str) -> None:
    """An id or a name: 1 to `id_chars_max` printable characters.

    Raises:
        InvalidError: it is not.
    """
    if not value.strip():
        raise InvalidError(f"{field} is missing", field=field, reason=f"missing_{field}")
    if len(value) > LIMITS.id_chars_max:
        raise InvalidError(
            f"{field} has {len(value)} characters, the limit is {LIMITS.id_chars_max}", field=field, reason="too_long"
        )
    if printable(value) != value:
        raise InvalidError(f"{field} holds a control character: remove it", field=field, reason="control_character")


def check_file_name(value: str, field: str) -> None:
    """A file name that leads nowhere else: ASCII letters, digits, `.`, `_` and `-`, not beginning with a dot.

    Raises:
        InvalidError: it is not.
    """
    check_name(value, field)
    if _FILE_NAME.fullmatch(value) is None:
        raise InvalidError(
            f"{field} must be a file name of letters, digits, '.', '_' and '-' that does not begin with a dot",
            field=field,
        )


def check_text(value: str, field: str) -> None:
    """A text to be embedded: not blank, up to `text_chars_max` characters.

    Raises:
        InvalidError: it is not.
    """
    if len(value) > LIMITS.text_chars_max:
        raise InvalidError(
            f"{field} has {len(value)} characters, the limit is {LIMITS.text_chars_max}", field=field, reason="too_long"
        )
    if not normalise(value):
        raise InvalidError(f"{field} is blank: send a text", field=field, reason="blank_text")
    if "\x00" in value:
        raise InvalidError(f"{field} holds NUL: remove it", field=field, reason="control_character")


def check_texts(texts: Sequence[str]) -> None:
    """The texts of one match request.

    Raises:
        InvalidError: none, too many, or one that is out of its limits.
    """
    check_count(len(texts), LIMITS.match_texts_max, "texts")
    for number, text in enumerate(texts):
        check_text(text, f"texts[{number}]")


def check_count(count: int, maximum: int, field: str) -> None:
    """How many of something one request holds: 1 to `maximum`.

    Raises:
        InvalidError: none, or too many.
    """
    if not 1 <= count <= maximum:
        raise InvalidError(f"{field} has {count} entries, send 1 to {maximum}", field=field, reason="bad_count")


def check_reason(reason: str, field: str = "reason") -> None:
    """Why a person decided as they did.

    Raises:
        InvalidError: blank or too long.
    """
    if not reason.strip():
        raise InvalidError(f"{field} is missing: say why", field=field, reason=f"missing_{field}")
    if len(reason) > LIMITS.reason_chars_max:
        raise InvalidError(
            f"{field} has {len(reason)} characters, the limit is {LIMITS.reason_chars_max}",
            field=field,
            reason="too_long",
        )


def check_review(review: Review) -> None:
    """An entry for the history of a finding.

    Raises:
        InvalidError: a text or a name out of its limits, or none or too many findings or accounts.
    """
    action = review.action
    if action is not ReviewAction.ASSIGN or review.reason:
        check_reason(review.reason, "text" if action is ReviewAction.COMMENT else "reason")
    for name, value in (("reviewer", review.reviewer), ("assignee", review.assignee)):
        if value:
            check_name(value, name)
    if action in (ReviewAction.MERGE, ReviewAction.UNMERGE):
        check_count(len(review.findings), LIMITS.merged_findings_max, "merged_finding_ids")
    if action in (ReviewAction.SPLIT, ReviewAction.RESTORE):
        check_count(len(review.accounts), LIMITS.run_accounts_max, "account_ids")


def check_rule(rule: NewRule) -> None:
    """What a reviewer asks to be suppressed.

    Raises:
        InvalidError: too many values, or one that no account, organisation or family can have.
    """
    if len(rule.values) > LIMITS.run_accounts_max:
        raise InvalidError(
            f"values has {len(rule.values)} entries, the limit is {LIMITS.run_accounts_max}",
            field="values",
            reason="too_many",
        )
    for value in rule.values:
        check_name(value, "values")


def check_filter(search_filter: SearchFilter) -> None:
    """Which exchanges may be hits.

    Raises:
        InvalidError: too many values, or an end before the beginning.
    """
    for field, count, maximum in (
        ("filter.account_ids", len(search_filter.accounts), LIMITS.filter_values_max),
        ("filter.models", len(search_filter.models), LIMITS.filter_values_max),
        ("filter.attributes", len(search_filter.attributes), LIMITS.attributes_max),
    ):
        if count > maximum:
            raise InvalidError(f"{field} has {count} entries, the limit is {maximum}", field=field, reason="too_many")
    check_period(search_filter.since_us, search_filter.until_us)


def check_period(since_us: int | None, until_us: int | None) -> None:
    """A stretch of time, [since, until); None is open.

    Raises:
        InvalidError: it is empty.
    """
    if since_us is not None and until_us is not None and since_us >= until_us:
        raise InvalidError("since must lie before until", field="since_us", reason="bad_time")


def check_slice(part: Slice) -> None:
    """What of its window a run looks at.

    Raises:
        InvalidError: too many values, or one that no exchange can have.
    """
    for field, count, maximum in (
        ("slice.account_ids", len(part.accounts), LIMITS.run_accounts_max),
        ("slice.models", len(part.models), LIMITS.filter_values_max),
        ("slice.attributes", len(part.attributes), LIMITS.attributes_max),
    ):
        if count > maximum:
            raise InvalidError(f"{field} has {count} entries, the limit is {maximum}", field=field, reason="too_many")
    for account_id in part.accounts:
        check_name(account_id, "slice.account_ids")
    for field, values, chars_max in (
        ("slice.models", part.models, LIMITS.id_chars_max),
        ("slice.attributes", part.attributes.keys(), LIMITS.attribute_key_chars_max),
        ("slice.attributes", part.attributes.values(), LIMITS.attribute_value_chars_max),
    ):
        longest = max(map(len, values), default=0)
        if longest > chars_max:
            raise InvalidError(
                f"{field} has an entry of {longest} characters, the limit is {chars_max}",
                field=field,
                reason="too_long",
            )


def check_sets(sets: Sequence[ParameterSet], min_samples: int, graph_k: int) -> None:
    """The parameter sets of a run on a graph of k neighbours; `min_samples` is what 0 stands for.

    Raises:
        InvalidError: too many, or one out of its limits, or more than the graph can carry.
    """
    if len(sets) > LIMITS.parameter_sets_max:
        raise InvalidError(
            f"sets has {len(sets)} entries, the limit is {LIMITS.parameter_sets_max}", field="sets", reason="too_many"
        )
    for number, item in enumerate(sets):
        for name, maximum in (
            ("min_samples", LIMITS.min_samples_max),
            ("min_cluster_size", LIMITS.min_cluster_size_max),
        ):
            value = getattr(item, name)
            if value and not 2 <= value <= maximum:
                raise InvalidError(
                    f"{name} is {value}, it lies between 2 and {maximum}; 0 is the default",
                    field=f"sets[{number}].{name}",
                    reason="bad_number",
                )
        needed = GRAPH_K_PER_SAMPLE * (item.min_samples or min_samples)
        if needed > graph_k:
            raise InvalidError(
                f"min_samples {item.min_samples or min_samples} takes a graph of at least {needed} neighbours, this "
                f"service keeps {graph_k}: set graph_k to {needed}, or ask for at most {graph_k // GRAPH_K_PER_SAMPLE}",
                field=f"sets[{number}].min_samples",
                reason="graph_too_small",
            )


def check_benchmark(name: str, items: Sequence[BenchmarkItem]) -> None:
    """A benchmark to register.

    Raises:
        InvalidError: a bad name, none or too many items, or an item that is out of its limits or comes twice.
    """
    check_name(name, "name")
    check_count(len(items), LIMITS.benchmark_items_max, "items")
    seen: set[str] = set()
    for number, item in enumerate(items):
        field = f"items[{number}]"
        check_name(item.item_id, f"{field}.item_id")
        check_text(item.text, f"{field}.text")
        if len(item.answer) > LIMITS.text_chars_max:
            raise InvalidError(
                f"{field}.answer has {len(item.answer)} characters, the limit is {LIMITS.text_chars_max}",
                field=f"{field}.answer",
                reason="too_long",
            )
        if item.item_id in seen:
            raise InvalidError(
                f"{field}.item_id {item.item_id!r} comes twice: ids are unique in a benchmark",
                field=f"{field}.item_id",
                reason="duplicate_item_id",
            )
        seen.add(item.item_id)
