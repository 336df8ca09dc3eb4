"""Steps 3, 4 and 6: test every candidate, grow what looks guilty, control false discoveries, report each campaign once.

A pool is accused by two kinds of reasons that innocents do not give together. Its content: knowing the account says
nothing about the query, on the whole (C/W) and close up (neighbour mixing). And how it was worked: in equal shares. The
two are independent among innocents and their normal scores are added: decent content in equal shares suffices, and so
does content that is clear enough to stand against shares as unequal as people's.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import sparse, special

from coterie.detection.candidates import Candidate
from coterie.detection.exchangeability import Exchangeability, exchangeability, permutation_z
from coterie.detection.growth import grow
from coterie.detection.items import Items, items_of, runs
from coterie.detection.kernels import numbered
from coterie.detection.mixing import Mixing, neighbour_mixing
from coterie.detection.overlap import Overlap, overlap
from coterie.detection.parameters import Parameters
from coterie.detection.shares import equal_shares_p_value
from coterie.detection.splitting import BETWEEN_MAX, halves
from coterie.detection.threads import side_by_side
from coterie.detection.trimming import ITEMS_MIN, trim
from coterie.detection.view_data import Reading, ViewData
from coterie.detection.wording import own_words

SAME_PRINCIPALS = 0.5
"""Share of the smaller pool's principals that two pools have in common when they are parts of one campaign."""

CONTRARY = 0.5
"""p-value beyond which one of the two tests of content speaks for innocence."""

MIXED_MAX = 1.1
"""Neighbour mixing, less two standard errors, of a pool that may still be one list."""

AGREEMENT_MIN = 0.25
"""Pools of a campaign that a member must be in, as a share of how many half of the members are in."""

AGREEMENT_POOLS_MIN = 5
"""Pools of a campaign from which they are asked who belongs to it."""

SAME_GROUP = 0.5
"""Jaccard of the principals of two pools from which they are one hypothesis, tested twice."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """A tested candidate.

    Attributes:
        items: its items after trimming, numbers in its view.
        principals: int32[...], sorted.
        counts: int64[...], items of each of them.
        texts: distinct texts among them.
        result: C/W; None where it could not be tested.
        mixing: neighbour mixing, likewise.
        content_p_value: of "its accounts have subjects or trains of thought of their own".
        shares_p_value: of "its accounts' shares are as unequal as people's".
        p_value: both together; 1 where it could not be tested or its content is ordinary.
        reason: why it is not reported; empty when it is.
    """

    origin: str
    view: str
    items: NDArray[np.int64]
    principals: NDArray[np.int32]
    counts: NDArray[np.int64]
    texts: int
    result: Exchangeability | None
    mixing: Mixing | None
    overlap: Overlap | None
    content_p_value: float
    shares_p_value: float
    p_value: float
    reason: str


@dataclass(frozen=True, slots=True)
class Judgement:
    """What became of all candidates.

    Attributes:
        reported: strongest first and each campaign once.
        verdicts: of every pool, candidates and what they grew to.
        p_values: float64[groups], of each hypothesis: a group of pools that are about the same principals, by its
            clearest pool that nothing else speaks against; 1 where there is none.
    """

    reported: list[Verdict]
    verdicts: list[Verdict]
    p_values: NDArray[np.float64]


def judge(
    candidates: Sequence[Candidate],
    views: Mapping[str, ViewData],
    parameters: Parameters,
    *,
    step: Callable[[float], None],
) -> Judgement:
    """Test all candidates, grow what looks guilty, control false discoveries."""
    verdicts: list[Verdict] = []
    with side_by_side(lambda one: test_candidate(one, views[one.view], parameters), candidates, at_once=64) as tested:
        for number, verdict in enumerate(tested):
            step(0.7 * number / len(candidates))
            verdicts.append(verdict)
    promising = _promising(verdicts, parameters)
    with side_by_side(lambda leader: _grown(leader, views[leader.view], parameters), promising) as grown:
        for number, pools in enumerate(grown):
            step(0.7 + 0.3 * number / len(promising))
            verdicts += pools
    verdicts, limit, p_values = _control(verdicts, parameters)
    passed = [verdict for verdict in verdicts if not verdict.reason]
    distinct = _distinct(passed, views, parameters, limit)
    chosen = [_agreed(verdict, passed, views, parameters, limit) for verdict in distinct]
    reported = [part for verdict in chosen for part in _parts(verdict, views, parameters, limit)]
    return Judgement(reported, verdicts, p_values)


def test_candidate(candidate: Candidate, view: ViewData, parameters: Parameters) -> Verdict:
    """Trim one candidate and hold it against every condition but the false discovery rate."""
    items = view.items
    pool = trim(items, candidate.items)
    texts = len(numbered(items.text[pool.items])[0])
    verdict = Verdict(
        candidate.origin, candidate.view, pool.items, pool.principals, pool.counts, texts, pool.result,
        None, None, 1.0, 1.0, 1.0, "",
    )  # fmt: skip
    reason = _too_little(verdict, parameters)
    if not reason and not pool.settled:
        reason = "half of its accounts had to be dropped and others still do not fit"
    if reason:
        return replace(verdict, reason=reason)
    assert pool.result is not None
    mixing = neighbour_mixing(items, pool.items)
    content = content_p_value(pool.result, mixing, len(pool.principals), parameters)
    shares = equal_shares_p_value(pool.counts, parameters.share_spread_min, ITEMS_MIN)
    verdict = replace(verdict, mixing=mixing, content_p_value=content, shares_p_value=shares)
    if content > parameters.content_rate:
        return replace(verdict, reason=_ordinary(verdict, parameters))
    credit = _credit(verdict, view, parameters)
    shared = overlap(items.principal[pool.items], items.text[pool.items], view.same)
    # Labs that run one benchmark ask all of it; in a small pool they may by chance have asked different parts.
    everything = items_of(items, pool.principals)
    whole = overlap(items.principal[everything], items.text[everything], view.same)
    return replace(
        verdict,
        overlap=shared,
        p_value=shares if credit is None else _together(credit, shares),
        reason=_crowd(shared, parameters) or _common(whole, parameters),
    )


def _read_again(reading: Reading, items: Items, chosen: NDArray[np.int64], parameters: Parameters) -> float:
    """`content_p_value` of the same prompts in another view; 1 where too little of them is there."""
    again = reading.of(items, chosen)
    principals, number, _ = runs(reading.items.principal[again])
    result = exchangeability(reading.items.vectors[reading.items.text[again]], number)
    if result is None:
        return 1.0
    return content_p_value(result, neighbour_mixing(reading.items, again), len(principals), parameters)


def _credit(verdict: Verdict, view: ViewData, parameters: Parameters) -> float | None:
    """The p-value of a pool's content as far as it is evidence; None where it is none, and only the shares are.

    An encoder that does not read what it is given takes everybody for interchangeable. So the accounts must have no
    words of their own, by the letter: where they have, content speaks neither way and lessens what the shares say. A
    view in which it counts how a prompt is put must be borne out by one in which only what is asked does. And where
    prompts are alike for their language more than for what they ask, the accounts are no more interchangeable than all
    who write it: then the view without languages has as much to say.
    """
    assert verdict.result is not None
    items, chosen = view.items, verdict.items
    words = own_words(view.wording[items.text[chosen]], items.principal[chosen])
    if words.p_value < parameters.own_words_rate and words.excess > parameters.own_words_excess:
        return CONTRARY
    content = verdict.content_p_value
    if view.readings:
        content = max(content, min(_read_again(reading, items, chosen, parameters) for reading in view.readings))
    if view.tongues.alike(items.text[chosen]) > parameters.tongue_max * verdict.result.across:
        again = 1.0 if view.tongueless is None else _read_again(view.tongueless, items, chosen, parameters)
        return None if again > CONTRARY else _both(content, again)
    return content


def label_z(verdict: Verdict, view: ViewData) -> float:
    """z of the pool's similarity within accounts among all shufflings of the account labels."""
    items = view.items
    _, number = np.unique(items.principal[verdict.items], return_inverse=True)
    return permutation_z(items.vectors[items.text[verdict.items]], number)


def content_p_value(result: Exchangeability, mixing: Mixing | None, principals: int, parameters: Parameters) -> float:
    """p of "its accounts have subjects and trains of thought of their own", from C/W and neighbour mixing.

    The normal scores of both are averaged, which is valid for scores that are jointly normal, however correlated. Both
    must point the same way: where one of them lies on the innocent side of its floor the answer is 1. Neither earns
    credit beyond perfect interchangeability: more alike across than within says how the pool was gathered, and no more.
    """
    error = max((result.ratio - result.ratio_low) / 1.645, 1e-3)
    on_the_whole = special.stdtr(max(1, principals - 1), (parameters.ratio_floor - min(result.ratio, 1.0)) / error)
    close_up = 1.0 if mixing is None else mixing.p_value(parameters.mixing_ceiling)
    return _both(float(on_the_whole), close_up)


def _both(first: float, second: float) -> float:
    """The mean of two normal scores as a p-value; 1 where one of them speaks for innocence."""
    if max(first, second) > CONTRARY:
        return 1.0
    both = np.clip([first, second], 1e-12, 1 - 1e-12)
    return float(special.ndtr(special.ndtri(both).mean()))


def _together(first: float, second: float) -> float:
    """Stouffer's combination of two independent p-values (1949), in which either may speak against the other.

    Fisher's method makes nothing of a p-value near 1; but the general public is interchangeable too, and nothing but
    its unequal shares tells it from a campaign.
    """
    both = np.clip([first, second], 1e-100, 1 - 1e-12)
    return float(special.ndtr(special.ndtri(both).sum() / np.sqrt(2)))


def _too_little(verdict: Verdict, parameters: Parameters) -> str:
    """Why a pool is not tested, in words; empty where it is."""
    if len(verdict.principals) < parameters.principals_min:
        return f"{len(verdict.principals)} customers are left in its pool, {parameters.principals_min} make a campaign"
    if verdict.result is None:
        return "too few accounts with enough queries to test"
    if verdict.texts < parameters.texts_min:
        return f"{verdict.texts} distinct texts were harvested, {parameters.texts_min} are worth reporting"
    if verdict.result.across < parameters.across_min:
        return (
            f"its accounts ask no more alike than the general public "
            f"({verdict.result.across:.3f}, needed {parameters.across_min:.3f})"
        )
    return ""


def _ordinary(verdict: Verdict, parameters: Parameters) -> str:
    """In words, what of a tested pool is as innocent pools are."""
    assert verdict.result is not None
    if verdict.mixing is None:
        return "its questions have no neighbours in the pool"
    if verdict.mixing.ratio > 1.0 + (parameters.mixing_ceiling - 1.0) / 2:
        return (
            f"its accounts follow trains of thought of their own: the nearest question is {verdict.mixing.ratio:.1f} "
            "times as often their own as chance gives"
        )
    return (
        f"its accounts are not shown to be interchangeable (C/W {verdict.result.ratio:.2f}, "
        f"lower limit {verdict.result.ratio_low:.2f}; p = {verdict.content_p_value:.2g})"
    )


def _crowd(shared: Overlap, parameters: Parameters) -> str:
    """Why a pool is a crowd with a common source rather than slices of a list, in words; empty where it is not."""
    if shared.repeated > parameters.repeats_max:
        return (
            f"{shared.repeated:.0%} of its questions were asked by several of its accounts: "
            "a crowd with a common source, not slices of a list"
        )
    if shared.rewrapped > parameters.rewrapped_max and shared.rewrapped_p_value < parameters.rewrapped_rate:
        return (
            f"{shared.rewrapped:.0%} of its questions were asked by several of its accounts in wrappings of their own: "
            "each works through the whole"
        )
    return ""


def _common(whole: Overlap, parameters: Parameters) -> str:
    """Why its accounts are one crowd by all that they send, in words; empty where they are not.

    People who hide behind ordinary traffic meet in what everybody asks, now and then: only much of it tells.
    """
    rewrapped = whole.rewrapped if whole.rewrapped_p_value < parameters.rewrapped_rate else 0.0
    if max(whole.repeated, rewrapped) <= parameters.common_max:
        return ""
    return (
        f"{max(whole.repeated, rewrapped):.0%} of all that its accounts send was sent by several of them, in the same "
        "words or in wrappings of their own: each works through the whole"
    )


def _promising(verdicts: list[Verdict], parameters: Parameters) -> list[Verdict]:
    """The clearest pool of each group that looks as if there were more of it."""
    hopeful = [verdict for verdict in verdicts if not verdict.reason and verdict.p_value <= parameters.promising_rate]
    return [group[0] for group in _groups(hopeful)]


def _grown(leader: Verdict, view: ViewData, parameters: Parameters) -> list[Verdict]:
    """Tests of what a pool becomes when everything like it is taken in, round after round."""
    origin = leader.origin.removesuffix(", grown") + ", grown"
    pools = grow(view.items, view.around, leader.items)
    return [test_candidate(Candidate(origin, leader.view, chosen), view, parameters) for chosen in pools]


def _groups(verdicts: Sequence[Verdict]) -> list[list[Verdict]]:
    """Pools of mostly the same accounts (Jaccard), each group and the groups by p-value."""
    groups: list[list[Verdict]] = []
    of_principal: dict[int, list[int]] = defaultdict(list)
    for verdict in sorted(verdicts, key=lambda v: (v.p_value, -v.texts, v.view, v.origin)):
        common = Counter(number for principal in verdict.principals.tolist() for number in of_principal[principal])
        joined = [
            number
            for number, count in common.items()
            if count >= SAME_GROUP * (len(verdict.principals) + len(groups[number][0].principals) - count)
        ]
        if joined:
            groups[min(joined)].append(verdict)
            continue
        for principal in verdict.principals.tolist():
            of_principal[principal].append(len(groups))
        groups.append([verdict])
    return groups


def _same_principals(first: Verdict, second: Verdict) -> bool:
    common = len(np.intersect1d(first.principals, second.principals, assume_unique=True))
    return common >= SAME_PRINCIPALS * min(len(first.principals), len(second.principals))


def _control(verdicts: list[Verdict], parameters: Parameters) -> tuple[list[Verdict], float, NDArray[np.float64]]:
    """Benjamini-Hochberg over groups of pools that are about the same accounts; the largest p that passes, and all.

    Only where the clearest group is beyond what all of them give by chance (Bonferroni) does anything pass: traffic
    without a campaign is to be silent, and the rate of false discoveries is a promise about traffic that has some.

    Over single pools it would be led astray: a campaign is found at many resolutions, and each of its pools would make
    room for another false one. A group goes by its clearest pool, and most groups of innocents have no pool whose
    content is anywhere near its null: of all groups, a share of `parameters.null_share` behaves as the p-values say
    and the others have none. So many true nulls are expected (Storey's pi_0, 2002, measured on innocents instead of
    estimated from the window, where campaigns are found at many resolutions).
    """
    groups = _groups([verdict for verdict in verdicts if verdict.result is not None])
    # What is a crowd for another reason is no campaign, however clear.
    clearest = np.array([min((v.p_value for v in group if not v.reason), default=1.0) for group in groups])
    silent = not len(groups) or clearest.min() > parameters.silence_rate / len(groups)
    limit = 0.0 if silent else _limit([group[0].principals for group in groups], clearest, parameters)
    controlled = [
        replace(verdict, reason=f"p = {verdict.p_value:.2g} does not survive the control of false discoveries")
        if not verdict.reason and verdict.p_value > limit
        else verdict
        for verdict in verdicts
    ]
    return controlled, limit, clearest


def _limit(principals: Sequence[NDArray[np.int32]], p_values: NDArray[np.float64], parameters: Parameters) -> float:
    """The largest p-value that passes Benjamini-Hochberg; 0 where none does.

    Behind cover a campaign comes in hundreds of pieces, which are neither nulls nor discoveries of their own: a group
    most of whose principals are in clearer ones is left out once these pass. Cost: the members of all groups, for each
    group with a p-value that might pass.

    Args:
        principals: those of each group.
        p_values: float64[groups], of the clearest pool of each.
    """
    sizes = np.array([len(group) for group in principals])
    row, column = np.repeat(np.arange(len(sizes)), sizes), np.concatenate(principals)
    holds = sparse.csr_matrix((1 / sizes[row], (row, column)))
    covered = np.zeros(holds.shape[1])
    left = np.ones(len(sizes), bool)
    limit, found = 0.0, 0
    for number in np.argsort(p_values, kind="stable").tolist():
        if p_values[number] > parameters.finding_rate / parameters.null_share:
            break
        if not left[number]:
            continue
        found += 1
        covered[principals[number]] = 1.0
        left = holds @ covered < SAME_PRINCIPALS
        reached = parameters.finding_rate * found / max(1.0, parameters.null_share * (found + left.sum()))
        if p_values[number] <= reached:
            limit = float(reached)
    return limit


def _distinct(
    passed: list[Verdict], views: Mapping[str, ViewData], parameters: Parameters, limit: float
) -> list[Verdict]:
    """Every campaign once: the clearest verdict stands for all that share its principals, if their union holds too."""
    chosen: list[Verdict] = []
    for verdict in sorted(passed, key=lambda v: (v.p_value, -v.texts, v.view, v.origin)):
        same = [index for index, other in enumerate(chosen) if _same_principals(other, verdict)]
        if not same:
            chosen.append(verdict)
            continue
        chosen[same[0]] = _united(chosen[same[0]], verdict, views, parameters, limit)
    return chosen


def _united(
    first: Verdict, second: Verdict, views: Mapping[str, ViewData], parameters: Parameters, limit: float
) -> Verdict:
    """Both pools as one where that still passes; the first otherwise."""
    if first.view != second.view or len(np.setdiff1d(second.principals, first.principals)) == 0:
        return first
    both = Candidate(first.origin, first.view, np.union1d(first.items, second.items))
    union = test_candidate(both, views[first.view], parameters)
    grown = len(union.principals) > len(first.principals)
    return union if not union.reason and union.p_value <= limit and grown else first


def _agreed(
    verdict: Verdict, passed: list[Verdict], views: Mapping[str, ViewData], parameters: Parameters, limit: float
) -> Verdict:
    """The pool without those whom hardly any other pool of the campaign holds, where it still passes.

    A campaign is found at many resolutions and in several views; who only happens to ask alike is in few of them.
    """
    pools = [other for other in passed if _same_principals(verdict, other)]
    if len(pools) < AGREEMENT_POOLS_MIN:
        return verdict
    held = np.sum([np.isin(verdict.principals, other.principals) for other in pools], axis=0)
    agreed = verdict.principals[held >= AGREEMENT_MIN * np.median(held)]
    if len(agreed) == len(verdict.principals):
        return verdict
    items = views[verdict.view].items
    kept = verdict.items[np.isin(items.principal[verdict.items], agreed)]
    rest = test_candidate(Candidate(verdict.origin, verdict.view, kept), views[verdict.view], parameters)
    return rest if not rest.reason and rest.p_value <= limit else verdict


def _parts(verdict: Verdict, views: Mapping[str, ViewData], parameters: Parameters, limit: float) -> list[Verdict]:
    """The campaigns a pool is made of, where it is two and each of them passes on its own.

    Where neighbours keep to their own accounts, the accounts are not interchangeable: then any two halves are tried.
    """
    view = views[verdict.view]
    apart = verdict.mixing is not None and verdict.mixing.ratio - 2 * verdict.mixing.error > MIXED_MAX
    split = halves(view.items, verdict.items, between_max=1.0 if apart else BETWEEN_MAX)
    if split is None:
        return [verdict]
    parts = [test_candidate(Candidate(verdict.origin, verdict.view, half), view, parameters) for half in split]
    if any(part.reason or part.p_value > limit for part in parts):
        return [verdict]
    return [piece for part in parts for piece in _parts(part, views, parameters, limit)]
