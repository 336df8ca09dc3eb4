"""Every bound of the public interface, in one table.

Field comments in `proto/coterie/v1` repeat these numbers as `[name = value]`; a test holds the two together.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds that callers meet. Characters are Unicode code points."""

    id_chars_max: int = 256
    text_chars_max: int = 400_000
    attributes_max: int = 32
    attribute_key_chars_max: int = 64
    attribute_value_chars_max: int = 512
    batch_exchanges_max: int = 1_000
    message_bytes_max: int = 16 * 1024 * 1024
    page_size_default: int = 100
    page_size_max: int = 1_000
    search_k_default: int = 10
    search_k_max: int = 1_000
    filter_values_max: int = 1_000
    run_accounts_max: int = 10_000
    run_accounts_listed_max: int = 20
    parameter_sets_max: int = 8
    min_samples_max: int = 100
    min_cluster_size_max: int = 10_000
    vector_dim_max: int = 4_096
    benchmark_items_max: int = 100_000
    match_texts_max: int = 256
    reason_chars_max: int = 2_000
    merged_findings_max: int = 100
    map_texts_max: int = 200_000
    twins_max: int = 100
    tokens_max: int = 1_000_000_000
    turn_max: int = 1_000_000
    access_tokens_max: int = 10_000
    token_name_chars_max: int = 64


LIMITS = Limits()
