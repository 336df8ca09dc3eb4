"""A dossier to its message and back; tables are sent row by row, and their shape follows from the accounts."""

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coterie.client import wire
from coterie.domain import (
    AccountId,
    AskedExchanges,
    BenchmarkStrip,
    DailyVolume,
    Dossier,
    ExchangeId,
    FamilyCounts,
    FamilyId,
    FindingId,
    InvalidError,
    LineageStep,
    RunId,
    SharedAttribute,
    SharedQuestions,
    ShuffledLabels,
)
from coterie.v1 import finding_service_pb2 as pb


def dossier_to_wire(dossier: Dossier) -> pb.GetDossierResponse:
    """A dossier as it is; a finding's `text_ids` stay here."""
    message = pb.GetDossierResponse(
        finding=wire.finding_to_wire(dossier.finding),
        run=wire.run_to_wire(dossier.run),
        reviews=[wire.review_to_wire(review) for review in dossier.reviews],
        exemplars=[wire.exchange_to_wire(exchange) for exchange in dossier.exemplars],
        with_text=dossier.with_text,
        account_ids=dossier.account_ids,
        seed=dossier.seed,
        window_exchanges=dossier.window_exchanges.tolist(),
        asked=_asked_to_wire(dossier.asked),
        volume=pb.DailyVolume(
            day_us=dossier.volume.day_us.tolist(),
            asked=_flat(dossier.volume.asked),
            in_pool=_flat(dossier.volume.in_pool),
        ),
        families=pb.FamilyCounts(
            family_ids=dossier.families.family_ids,
            asked=_flat(dossier.families.asked),
            in_pool=_flat(dossier.families.in_pool),
            run_id=dossier.families.run_id,
        ),
        shared=pb.SharedQuestions(
            observed=_flat(dossier.shared.observed),
            expected=_flat(dossier.shared.expected),
            texts=dossier.shared.texts,
        ),
        benchmarks=[_strip_to_wire(strip) for strip in dossier.benchmarks],
        lineage=[_step_to_wire(step) for step in dossier.lineage],
        attributes=[
            pb.SharedAttribute(name=item.name, value=item.value, accounts=item.accounts, elsewhere=item.elsewhere)
            for item in dossier.attributes
        ],
        accounts_in_window=dossier.accounts_in_window,
    )
    if dossier.shuffled is not None:
        message.shuffled.CopyFrom(_shuffled_to_wire(dossier.shuffled))
    return message


def dossier_from_wire(message: pb.GetDossierResponse) -> Dossier:
    """A dossier as it was sent.

    Raises:
        InvalidError: an enum value this version does not know, or a table that does not fit its accounts.
    """
    finding = wire.finding_from_wire(message.finding)
    accounts = len(message.account_ids)
    days, families = len(message.volume.day_us), len(message.families.family_ids) + 2
    return Dossier(
        finding=finding,
        run=wire.run_from_wire(message.run),
        reviews=tuple(wire.review_from_wire(review, finding.finding_id) for review in message.reviews),
        exemplars=tuple(wire.exchange_from_wire(exchange) for exchange in message.exemplars),
        with_text=message.with_text,
        account_ids=tuple(AccountId(name) for name in message.account_ids),
        seed=message.seed,
        window_exchanges=_table(message.window_exchanges, np.int64, (accounts,)),
        asked=_asked_from_wire(message.asked),
        volume=DailyVolume(
            day_us=np.array(message.volume.day_us, np.int64),
            asked=_table(message.volume.asked, np.int64, (accounts, days)),
            in_pool=_table(message.volume.in_pool, np.int64, (accounts, days)),
        ),
        families=FamilyCounts(
            family_ids=tuple(FamilyId(name) for name in message.families.family_ids),
            asked=_table(message.families.asked, np.int64, (accounts, families)),
            in_pool=_table(message.families.in_pool, np.int64, (accounts, families)),
            run_id=RunId(message.families.run_id),
        ),
        shared=SharedQuestions(
            observed=_table(message.shared.observed, np.int64, (accounts, accounts)),
            expected=_table(message.shared.expected, np.float64, (accounts, accounts)),
            texts=message.shared.texts,
        ),
        shuffled=_shuffled_from_wire(message.shuffled, accounts) if message.HasField("shuffled") else None,
        benchmarks=tuple(_strip_from_wire(strip) for strip in message.benchmarks),
        lineage=tuple(_step_from_wire(step) for step in message.lineage),
        attributes=tuple(
            SharedAttribute(item.name, item.value, item.accounts, item.elsewhere) for item in message.attributes
        ),
        accounts_in_window=message.accounts_in_window,
    )


def _flat(table: NDArray[Any]) -> list[Any]:
    values: list[Any] = table.ravel().tolist()
    return values


def _table(values: Iterable[Any], dtype: Any, shape: tuple[int, ...]) -> NDArray[Any]:
    table = np.array(values, dtype)
    if table.size != int(np.prod(shape)):
        raise InvalidError(
            f"a table of the dossier has {table.size} cells, its accounts make it {shape}", field="asked"
        )
    return table.reshape(shape)


def _asked_to_wire(asked: AskedExchanges) -> pb.AskedExchanges:
    return pb.AskedExchanges(
        exchange_ids=asked.exchange_ids,
        account=asked.account.tolist(),
        time_us=asked.time_us.tolist(),
        text=asked.text.tolist(),
        family=asked.family.tolist(),
        in_pool=asked.in_pool.tolist(),
        total=asked.total,
    )


def _asked_from_wire(message: pb.AskedExchanges) -> AskedExchanges:
    shape = (len(message.exchange_ids),)
    return AskedExchanges(
        exchange_ids=tuple(ExchangeId(name) for name in message.exchange_ids),
        account=_table(message.account, np.int32, shape),
        time_us=_table(message.time_us, np.int64, shape),
        text=_table(message.text, np.int32, shape),
        family=_table(message.family, np.int32, shape),
        in_pool=_table(message.in_pool, np.bool_, shape),
        total=message.total,
    )


def _shuffled_to_wire(value: ShuffledLabels) -> pb.ShuffledLabels:
    return pb.ShuffledLabels(
        observed=value.observed,
        shuffled=value.shuffled.tolist(),
        recorded=value.recorded,
        recorded_z=value.recorded_z,
        innocent_max=value.innocent_max,
        items=value.items,
        items_total=value.items_total,
        customers=value.customers,
        alike_own=value.alike_own.tolist(),
        alike_others=value.alike_others.tolist(),
    )


def _shuffled_from_wire(message: pb.ShuffledLabels, accounts: int) -> ShuffledLabels:
    return ShuffledLabels(
        observed=message.observed,
        shuffled=np.array(message.shuffled, np.float64),
        recorded=message.recorded if message.HasField("recorded") else None,
        recorded_z=message.recorded_z if message.HasField("recorded_z") else None,
        innocent_max=message.innocent_max,
        items=message.items,
        items_total=message.items_total,
        customers=message.customers,
        alike_own=_table(message.alike_own, np.float64, (accounts,)),
        alike_others=_table(message.alike_others, np.float64, (accounts,)),
    )


def _strip_to_wire(strip: BenchmarkStrip) -> pb.BenchmarkStrip:
    return pb.BenchmarkStrip(
        name=strip.name,
        items=strip.items,
        account=strip.account.tolist(),
        item=strip.item.tolist(),
        texts=strip.texts,
        texts_total=strip.texts_total,
    )


def _strip_from_wire(message: pb.BenchmarkStrip) -> BenchmarkStrip:
    account = np.array(message.account, np.int32)
    item = _table(message.item, np.int32, account.shape)
    return BenchmarkStrip(message.name, message.items, account, item, message.texts, message.texts_total)


def _step_to_wire(step: LineageStep) -> pb.LineageStep:
    return pb.LineageStep(
        finding_id=step.finding_id,
        run_id=step.run_id,
        created_us=step.created_us,
        trigger=step.trigger,
        lineage=wire.LINEAGES[step.lineage],
        severity=wire.SEVERITIES[step.severity],
        confidence=step.confidence,
        accounts=step.accounts,
        texts=step.texts,
        exchanges=step.exchanges,
    )


def _step_from_wire(message: pb.LineageStep) -> LineageStep:
    return LineageStep(
        finding_id=FindingId(message.finding_id),
        run_id=RunId(message.run_id),
        created_us=message.created_us,
        trigger=message.trigger,
        lineage=wire.enum_from_wire(wire.LINEAGES, message.lineage, "lineage"),
        severity=wire.enum_from_wire(wire.SEVERITIES, message.severity, "severity"),
        confidence=message.confidence,
        accounts=message.accounts,
        texts=message.texts,
        exchanges=message.exchanges,
    )
