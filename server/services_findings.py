"""What runs report and analysts review."""

from collections.abc import AsyncIterator
from dataclasses import replace

from coterie.client import wire, wire_calibration, wire_dossier
from coterie.domain import AccountId, Finding, FindingId, InvalidError, NewRule, Review, ReviewAction, ReviewState
from coterie.server.access import current_caller
from coterie.server.checks import check_name
from coterie.server.paging import bad_token, page_key, page_size, page_token
from coterie.server.services import Context, Desk
from coterie.v1 import finding_service_pb2, finding_service_pb2_grpc, types_pb2

_EVENTS_AT_ONCE = 100


_AUDITED = {
    ReviewAction.DECIDE: "review_finding",
    ReviewAction.COMMENT: "comment_finding",
    ReviewAction.ASSIGN: "assign_finding",
    ReviewAction.MERGE: "merge_findings",
    ReviewAction.UNMERGE: "unmerge_findings",
    ReviewAction.SPLIT: "split_finding",
    ReviewAction.RESTORE: "restore_accounts",
}
_Reviewing = (
    finding_service_pb2.ReviewFindingRequest
    | finding_service_pb2.CommentFindingRequest
    | finding_service_pb2.AssignFindingRequest
    | finding_service_pb2.MergeFindingsRequest
    | finding_service_pb2.SplitFindingRequest
)


class FindingService(finding_service_pb2_grpc.FindingServiceServicer):
    """Findings, decisions on them, and where accounts stand."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def ListFindings(
        self, request: finding_service_pb2.ListFindingsRequest, context: Context
    ) -> finding_service_pb2.ListFindingsResponse:
        """The findings of a run; every page of a listing is of the run that the first was of."""
        size = page_size(request.page)
        key = page_key(request.page, "findings", [str, str])
        if key is not None and request.run_id not in ("", key[0]):
            raise bad_token()
        run_id = request.run_id if key is None else str(key[0])
        run_id, findings = await self._desk.call(self._desk.engine.findings, run_id)
        if key is not None:
            findings = _after(findings, str(key[1]))
        wanted = _wanted(findings, request, self._desk.engine.known_as(request.account_id))
        page = wanted[:size]
        token = page_token("findings", [run_id, page[-1].finding_id]) if len(wanted) > size else ""
        return finding_service_pb2.ListFindingsResponse(
            run_id=run_id,
            findings=[wire.finding_to_wire(finding) for finding in page],
            page=types_pb2.PageResponse(next_page_token=token),
        )

    async def GetFinding(
        self, request: finding_service_pb2.GetFindingRequest, context: Context
    ) -> finding_service_pb2.GetFindingResponse:
        """One finding as the newest run that holds it reports it, with its exemplars whole."""
        await self._desk.audit(context, "read_finding", request.finding_id)
        finding, reviews, exemplars = await self._desk.call(self._desk.engine.finding, FindingId(request.finding_id))
        masking = self._desk.engine.masking
        if masking.applies(current_caller()):
            exemplars = await self._desk.call(masking.exchanges, exemplars)
        return finding_service_pb2.GetFindingResponse(
            finding=wire.finding_to_wire(finding),
            reviews=[wire.review_to_wire(review) for review in reviews],
            exemplars=[wire.exchange_to_wire(exchange) for exchange in exemplars],
        )

    async def GetDossier(
        self, request: finding_service_pb2.GetDossierRequest, context: Context
    ) -> finding_service_pb2.GetDossierResponse:
        """Everything of one finding that is drawn or reported; reading its texts is recorded as such."""
        await self._desk.audit(
            context, "read_dossier_text" if request.with_text else "read_dossier", request.finding_id
        )
        dossier = await self._desk.call(
            self._desk.engine.dossier, FindingId(request.finding_id), request.run_id, with_text=request.with_text
        )
        masking = self._desk.engine.masking
        if masking.applies(current_caller()):
            dossier = await self._desk.call(masking.dossier, dossier)
        return await self._desk.call(wire_dossier.dossier_to_wire, dossier)

    async def WatchFindings(
        self, request: finding_service_pb2.WatchFindingsRequest, context: Context
    ) -> AsyncIterator[finding_service_pb2.WatchFindingsResponse]:
        """Findings as runs finish and reviews are made; it ends when the server stops."""
        if request.after_event < 0:
            raise InvalidError("after_event is negative: send the last event you saw, or 0", field="after_event")
        engine = self._desk.engine
        with engine.changed.event() as changed:
            after = request.after_event or await self._desk.call(engine.store.last_event)
            while not self._desk.stopping.is_set():
                events = await self._desk.call(engine.events, after, _EVENTS_AT_ONCE)
                for after, finding in events:
                    yield finding_service_pb2.WatchFindingsResponse(event=after, finding=wire.finding_to_wire(finding))
                if not events:
                    await changed.wait()
                    changed.clear()

    async def ReviewFinding(
        self, request: finding_service_pb2.ReviewFindingRequest, context: Context
    ) -> finding_service_pb2.ReviewFindingResponse:
        """Records a person's decision."""
        decision = wire.enum_from_wire(wire.REVIEW_STATES, request.decision, "decision")
        entry = _entry(request.finding_id, request.reason, request.reviewer, ReviewAction.DECIDE)
        suppress = wire.new_rule_from_wire(request.suppress) if request.HasField("suppress") else None
        finding = await self._record(context, request, replace(entry, decision=decision), suppress)
        return finding_service_pb2.ReviewFindingResponse(finding=finding)

    async def CommentFinding(
        self, request: finding_service_pb2.CommentFindingRequest, context: Context
    ) -> finding_service_pb2.CommentFindingResponse:
        """Records a comment."""
        entry = _entry(request.finding_id, request.text, request.reviewer, ReviewAction.COMMENT)
        return finding_service_pb2.CommentFindingResponse(finding=await self._record(context, request, entry))

    async def AssignFinding(
        self, request: finding_service_pb2.AssignFindingRequest, context: Context
    ) -> finding_service_pb2.AssignFindingResponse:
        """Says whose it is to look at a finding."""
        entry = _entry(request.finding_id, request.reason, request.reviewer, ReviewAction.ASSIGN)
        finding = await self._record(context, request, replace(entry, assignee=request.assignee))
        return finding_service_pb2.AssignFindingResponse(finding=finding)

    async def MergeFindings(
        self, request: finding_service_pb2.MergeFindingsRequest, context: Context
    ) -> finding_service_pb2.MergeFindingsResponse:
        """Makes findings one, or takes it back."""
        action = ReviewAction.UNMERGE if request.undo else ReviewAction.MERGE
        entry = _entry(request.finding_id, request.reason, request.reviewer, action)
        others = tuple(dict.fromkeys(FindingId(item) for item in request.merged_finding_ids))
        finding = await self._record(context, request, replace(entry, findings=others))
        return finding_service_pb2.MergeFindingsResponse(finding=finding)

    async def SplitFinding(
        self, request: finding_service_pb2.SplitFindingRequest, context: Context
    ) -> finding_service_pb2.SplitFindingResponse:
        """Takes accounts out of a finding, or puts them back."""
        action = ReviewAction.RESTORE if request.undo else ReviewAction.SPLIT
        entry = _entry(request.finding_id, request.reason, request.reviewer, action)
        accounts = tuple(dict.fromkeys(self._desk.engine.known_as(item) for item in request.account_ids))
        finding = await self._record(context, request, replace(entry, accounts=accounts))
        return finding_service_pb2.SplitFindingResponse(finding=finding)

    async def CreateRule(
        self, request: finding_service_pb2.CreateRuleRequest, context: Context
    ) -> finding_service_pb2.CreateRuleResponse:
        """Makes an allow-list."""
        asked = wire.new_rule_from_wire(request.rule)
        await self._desk.audit(context, "create_rule", asked.kind.value)
        rule = await self._desk.call(self._desk.engine.allow, asked, request.reason, _reviewer(request.reviewer))
        return finding_service_pb2.CreateRuleResponse(rule=wire.rule_to_wire(rule))

    async def ListRules(
        self, request: finding_service_pb2.ListRulesRequest, context: Context
    ) -> finding_service_pb2.ListRulesResponse:
        """Every rule ever made."""
        rules = await self._desk.call(self._desk.engine.rules)
        return finding_service_pb2.ListRulesResponse(rules=[wire.rule_to_wire(rule) for rule in rules])

    async def RevokeRule(
        self, request: finding_service_pb2.RevokeRuleRequest, context: Context
    ) -> finding_service_pb2.RevokeRuleResponse:
        """Takes a rule back."""
        await self._desk.audit(context, "revoke_rule", request.rule_id)
        rule = await self._desk.call(self._desk.engine.revoke_rule, request.rule_id, _reviewer(request.reviewer))
        return finding_service_pb2.RevokeRuleResponse(rule=wire.rule_to_wire(rule))

    async def GetCalibration(
        self, request: finding_service_pb2.GetCalibrationRequest, context: Context
    ) -> finding_service_pb2.GetCalibrationResponse:
        """Decisions against stated confidence."""
        return wire_calibration.calibration_to_wire(await self._desk.call(self._desk.engine.calibration))

    async def _record(
        self, context: Context, request: _Reviewing, entry: Review, suppress: NewRule | None = None
    ) -> finding_service_pb2.Finding:
        """The finding under a new entry in its history."""
        await self._desk.audit(context, _AUDITED[entry.action], entry.finding_id)
        version = request.version if request.HasField("version") else None
        return wire.finding_to_wire(await self._desk.call(self._desk.engine.review, entry, version, suppress))

    async def GetAccount(
        self, request: finding_service_pb2.GetAccountRequest, context: Context
    ) -> finding_service_pb2.GetAccountResponse:
        """Whether an account is in anything, and if not, how near it was."""
        check_name(request.account_id, "account_id")
        await self._desk.audit(context, "read_account", self._desk.engine.known_as(request.account_id))
        report = await self._desk.call(self._desk.engine.account, AccountId(request.account_id))
        return wire.account_report_to_wire(report)

    async def ListFamilies(
        self, request: finding_service_pb2.ListFamiliesRequest, context: Context
    ) -> finding_service_pb2.ListFamiliesResponse:
        """The families of a run; every page of a listing is of the run that the first was of."""
        size = page_size(request.page)
        key = page_key(request.page, "families", [str, int])
        if key is not None and request.run_id not in ("", key[0]):
            raise bad_token()
        run_id, after = (request.run_id, -1) if key is None else (str(key[0]), int(key[1]))
        lineage = wire.enum_filter_from_wire(wire.FAMILY_LINEAGES, request.lineage, "lineage")
        run_id, found = await self._desk.call(
            self._desk.engine.families, run_id, lineage=lineage, limit=size + 1, after=after
        )
        page = found[:size]
        masking = self._desk.engine.masking
        families = [family for _, family in page]
        if masking.applies(current_caller()):
            families = masking.families(families)
        token = page_token("families", [run_id, page[-1][0]]) if len(found) > size else ""
        return finding_service_pb2.ListFamiliesResponse(
            run_id=run_id,
            families=[wire.family_to_wire(family) for family in families],
            page=types_pb2.PageResponse(next_page_token=token),
        )


def _entry(finding_id: str, reason: str, reviewer: str, action: ReviewAction) -> Review:
    """An entry for a history, by the caller where the service knows who calls; its time is when it is recorded."""
    return Review(FindingId(finding_id), ReviewState.OPEN, reason, _reviewer(reviewer), 0, action)


def _reviewer(named: str) -> str:
    """Who decides: the caller, where the service knows who calls, whatever the request says."""
    caller = current_caller()
    return caller.name if caller.identified else named


def _after(findings: list[Finding], finding_id: str) -> list[Finding]:
    for place, finding in enumerate(findings):
        if finding.finding_id == finding_id:
            return findings[place + 1 :]
    raise bad_token()


def _account_ids(finding: Finding) -> set[str]:
    return {item.account_id for item in finding.accounts} | {item.account_id for item in finding.joined_since}


def _wanted(
    findings: list[Finding], request: finding_service_pb2.ListFindingsRequest, account_id: AccountId
) -> list[Finding]:
    kind = wire.enum_filter_from_wire(wire.KINDS, request.kind, "kind")
    review = wire.enum_filter_from_wire(wire.REVIEW_STATES, request.review, "review")
    return [
        finding
        for finding in findings
        if (kind is None or finding.kind is kind)
        and (review is None or finding.review is review)
        and (not request.account_id or account_id in _account_ids(finding))
    ]
