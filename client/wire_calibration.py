"""Calibrations between domain values and wire messages."""

from coterie.domain import Calibration, FittedConfidence, LimitProposal, Rate, Reliability, ReliabilityBin
from coterie.v1 import finding_service_pb2


def calibration_to_wire(calibration: Calibration) -> finding_service_pb2.GetCalibrationResponse:
    """Decisions against stated confidence."""
    return finding_service_pb2.GetCalibrationResponse(
        verdict=calibration.verdict,
        decisions=calibration.decisions,
        confirmed=calibration.confirmed,
        unknown=calibration.unknown,
        groups=[_group_to_wire(group) for group in calibration.groups],
        evidence=[_rate_to_wire(rate) for rate in calibration.evidence],
        proposals=[
            finding_service_pb2.LimitProposal(
                precision=item.precision, limit=item.limit, kept=_rate_to_wire(item.kept), lost=item.lost
            )
            for item in calibration.proposals
        ],
        fit=[
            finding_service_pb2.FittedConfidence(stated=item.stated, fitted=item.fitted, low=item.low, high=item.high)
            for item in calibration.fit
        ],
    )


def calibration_from_wire(message: finding_service_pb2.GetCalibrationResponse) -> Calibration:
    """Decisions against stated confidence."""
    return Calibration(
        verdict=message.verdict,
        decisions=message.decisions,
        confirmed=message.confirmed,
        unknown=message.unknown,
        groups=tuple(_group_from_wire(group) for group in message.groups),
        evidence=tuple(_rate_from_wire(rate) for rate in message.evidence),
        proposals=tuple(
            LimitProposal(
                item.precision,
                item.limit if item.HasField("limit") else None,
                _rate_from_wire(item.kept),
                item.lost,
            )
            for item in message.proposals
        ),
        fit=tuple(FittedConfidence(item.stated, item.fitted, item.low, item.high) for item in message.fit),
    )


def _group_to_wire(group: Reliability) -> finding_service_pb2.Reliability:
    return finding_service_pb2.Reliability(
        name=group.name,
        count=group.count,
        confirmed=group.confirmed,
        brier=group.brier,
        brier_base=group.brier_base,
        bins=[
            finding_service_pb2.ReliabilityBin(
                low=item.low, high=item.high, confidence=item.confidence, confirmed=_rate_to_wire(item.confirmed)
            )
            for item in group.bins
        ],
    )


def _group_from_wire(message: finding_service_pb2.Reliability) -> Reliability:
    bins = tuple(
        ReliabilityBin(item.low, item.high, item.confidence, _rate_from_wire(item.confirmed)) for item in message.bins
    )
    return Reliability(message.name, message.count, message.confirmed, message.brier, message.brier_base, bins)


def _rate_to_wire(rate: Rate) -> finding_service_pb2.Rate:
    return finding_service_pb2.Rate(
        name=rate.name, count=rate.count, confirmed=rate.confirmed, rate=rate.rate, low=rate.low, high=rate.high
    )


def _rate_from_wire(message: finding_service_pb2.Rate) -> Rate:
    return Rate(message.name, message.count, message.confirmed, message.rate, message.low, message.high)
