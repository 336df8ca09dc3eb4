"""What is measured on one draw of a scenario; each gives JSON values."""

import time
from collections.abc import Callable
from typing import Any

from bench.detection import baselines, mmd
from bench.detection.ablations import ablations, without_view
from bench.detection.limits import Limits
from bench.detection.trial import Groups, Trial, prefix, score
from bench.detection.windows import make_window
from coterie.detection import Detection, Parameters, detect
from coterie.domain import FindingKind, Lineage, Window

HOUR_US = 3_600_000_000
LEAK_HOURS_MAX = 96
"""Hours after the first exchange beyond which a campaign counts as not found."""

LEAK_HOURS = (*range(1, 37), *range(42, LEAK_HOURS_MAX + 1, 6))
"""When detection is run: hourly for a day and a half, past every bar, then every six hours, which tells the leak of
what is found late as more than it is."""

LEAK_MEMBERS_MIN = 3
METHODS = ("coterie", "plain_hdbscan", "account_twins", "communities", "coaction")


def campaigns_of(detection: Detection) -> Groups:
    """The accounts of each finding of kind campaign."""
    return [{account.account_id for account in finding.accounts} for finding in _campaigns(detection)]


def measure_scores(trial: Trial, limits: Limits) -> dict[str, Any]:
    """Coterie and the baselines on one window, with the p-values and confidences that coterie gave."""
    window, traffic = trial.window, trial.traffic
    before_s = time.process_time()
    detection = detect(window)
    cpu_s = time.process_time() - before_s
    scored = {"coterie": score(campaigns_of(detection), traffic)}
    for name, method in baselines.PAIR_METHODS.items():
        scored[name] = score(baselines.joined_above(window, method(window), getattr(limits, name)), traffic)
    communities = baselines.communities_above(window, baselines.link_communities(window), limits.communities)
    scored["communities"] = score(communities, traffic)
    scored["plain_hdbscan"] = score(baselines.plain_hdbscan(window), traffic)
    return {
        "methods": {name: scored[name] for name in METHODS},
        "mmd": mmd.window_test(window, traffic, limits.reference, limits.mmd),
        "findings": _findings(detection, trial),
        "p_values": list(detection.p_values),
        "nearest_p_values": pool_p_values(detection),
        "detect_cpu_s": round(cpu_s, 2),
    }


def measure_ablation(trial: Trial, limits: Limits) -> dict[str, Any]:
    """Coterie with everything on, then with one condition or view switched off at a time."""
    window = trial.window
    runs: dict[str, tuple[Window, Parameters]] = {"nothing": (window, Parameters())}
    runs |= {name: (window, parameters) for name, parameters in ablations().items()}
    runs |= {f"view {name}": (without_view(window, name), Parameters()) for name in window.views if name != "raw"}
    found = {}
    for name, (seen, parameters) in runs.items():
        scores = score(campaigns_of(detect(seen, parameters)), trial.traffic)
        kept = ("account_precision", "account_recall", "pairwise_f1", "findings", "accused", "accused_guilty")
        found[name] = {measure: scores[measure] for measure in kept}
        found[name] |= {"guilty": scores["guilty"], "innocent": scores["accounts"] - scores["guilty"]}
    return {"without": found}


def measure_leak(trial: Trial, limits: Limits) -> dict[str, Any]:
    """When hourly runs over all traffic so far first show each campaign, and what it had harvested by then.

    A campaign is shown by a finding that holds at least three of its accounts, which are at least half of the finding.
    `share_of_list` is of all that the campaign asks in the whole window, cover left out by nobody: without cover it is
    the list.
    """
    events, truth = trial.traffic.events, trial.traffic.truth
    start_us = events[0].time_us
    members: dict[str, set[str]] = {}
    for account, entry in truth.items():
        if entry["label"] != "benign":
            members.setdefault(entry["label"], set()).add(account)
    found_hour: dict[str, int] = {}
    last_hour = min(LEAK_HOURS_MAX, -(-(events[-1].time_us - start_us) // HOUR_US))
    for hour in LEAK_HOURS:
        if hour > last_hour or len(found_hour) == len(members):
            break
        seen = prefix(events, start_us + hour * HOUR_US)
        for group in campaigns_of(detect(make_window(seen, trial.cache))):
            for name, accounts in members.items():
                inside = len(group & accounts)
                if inside >= LEAK_MEMBERS_MIN and 2 * inside >= len(group):
                    found_hour.setdefault(name, hour)
    return {
        "campaigns": [
            _leaked(trial, name, accounts, found_hour.get(name), start_us) for name, accounts in sorted(members.items())
        ],
        "hours_tried": last_hour,
    }


def _leaked(trial: Trial, name: str, accounts: set[str], hour: int | None, start_us: int) -> dict[str, Any]:
    until_us = start_us + (LEAK_HOURS_MAX if hour is None else hour) * HOUR_US
    times = [event.time_us for event in trial.traffic.events if event.account_id in accounts]
    leaked = sum(time_us < until_us for time_us in times)
    return {
        "name": name,
        "kind": trial.traffic.truth[min(accounts)]["kind"],
        "accounts": len(accounts),
        "requests": len(times),
        "found_at_hour": hour,
        "requests_leaked": leaked,
        "requests_leaked_per_account": round(leaked / len(accounts), 2),
        "share_of_list": round(leaked / len(times), 4),
    }


def pool_p_values(detection: Detection) -> list[float]:
    """The p-value of every pool that came nearest to accusing somebody, each pool once.

    A pool that was nearest to nobody is not among them, so these are the smaller ones of all that were tested; and
    among them are crowds that are interchangeable in truth and were refused for what they repeat.
    """
    pools = {
        (standing.nearest_candidate, standing.nearest_p_value)
        for standing in detection.standings
        if standing.nearest_p_value is not None
    }
    return sorted(value for _, value in pools if value is not None)


def _findings(detection: Detection, trial: Trial) -> list[dict[str, Any]]:
    """Every campaign finding with its confidence and how many of its accounts belong to the campaign most are of."""
    rows = []
    for finding in _campaigns(detection):
        labels = [trial.traffic.truth[account.account_id]["label"] for account in finding.accounts]
        guilty = [label for label in labels if label != "benign"]
        commonest = max((guilty.count(label) for label in set(guilty)), default=0)
        rows.append(
            {
                "confidence": finding.confidence,
                "accounts": len(labels),
                "guilty": len(guilty),
                "of_one_campaign": commonest,
                "severity": finding.severity.name.lower(),
            }
        )
    return rows


def _campaigns(detection: Detection) -> list[Any]:
    return [
        finding
        for finding in detection.findings
        if finding.kind is FindingKind.CAMPAIGN and finding.lineage is not Lineage.GONE
    ]


MEASURES: dict[str, Callable[[Trial, Limits], dict[str, Any]]] = {
    "score": measure_scores,
    "ablation": measure_ablation,
    "leak": measure_leak,
}
