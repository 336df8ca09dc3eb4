"""Jobs of the bench: one draw of one scenario each, with results kept by what they were made from."""

import hashlib
import json
import pickle
import re
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, replace
from functools import cache
from importlib.metadata import PackageNotFoundError, requires, version
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from bench.detection.limits import Limits, fix_limits
from bench.detection.measures import MEASURES
from bench.detection.scale import measure_scale
from bench.detection.scenarios import Scenario
from bench.detection.trial import Trial
from bench.detection.vectors import VectorCache
from coterie.domain import InvalidError
from coterie.simulation import Config, Split

ROOT = Path(__file__).parents[2]
CODE_FOLDERS = ("domain", "embedder", "index", "detection", "simulation")
SHOWING = ("bars.py", "intervals.py", "jobs.py", "plot.py", "report.py", "run.py", "scenarios.py", "summaries.py")
"""Files of this folder that measure nothing: a change of theirs leaves results valid."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What all jobs of a run have in common.

    Attributes:
        cache: folder of vectors and results.
        accounts_max: takes no more accounts than that, to try things out; None takes what a scenario says.
    """

    corpus: Path | None
    split: Split
    model: str
    cache: Path
    accounts_max: int | None = None

    def config(self, scenario: Scenario, seed: int) -> Config:
        """The simulator's configuration.

        Raises:
            InvalidError: a value is out of range.
        """
        base = Config(corpus=self.corpus, split=self.split, responses=0.0, seed=seed)
        config = replace(base, **scenario.settings)
        if self.accounts_max is not None and config.accounts > self.accounts_max:
            config = replace(config, accounts=self.accounts_max)
        return config


@dataclass(frozen=True, slots=True)
class Job:
    """One draw of a scenario."""

    scenario: Scenario
    seed: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a job: `result`, or `reason` why it could not be run."""

    job: Job
    result: dict[str, Any] | None = None
    reason: str = ""
    cached: bool = False


def run_jobs(jobs: Sequence[Job], setting: Setting, workers: int) -> Iterator[Outcome]:
    """The outcome of every job, as they are done; those known from before come first.

    Results are kept under a key of all that they depend on: configuration, split, text, model, the code that simulates,
    embeds, searches, detects and measures, and the versions of libraries.
    """
    waiting: dict[Path, list[Job]] = {}
    for job in jobs:
        found = known(job, setting)
        if found is None:
            # Two scenarios may ask for the same traffic: a point of a curve is also a mix.
            waiting.setdefault(_path(job, setting), []).append(job)
        else:
            yield found
    for outcome in _run(waiting, setting, workers):
        for twin in waiting[_path(outcome.job, setting)]:
            yield replace(outcome, job=twin)


def _run(waiting: dict[Path, list[Job]], setting: Setting, workers: int) -> Iterator[Outcome]:
    if not waiting:
        return
    limits_for(setting)
    firsts = [twins[0] for twins in waiting.values()]
    if workers == 1:
        vectors = VectorCache(setting.cache, setting.model)
        for job in firsts:
            yield run_job(job, setting, vectors)
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        for done in as_completed([pool.submit(run_job, job, setting) for job in firsts]):
            yield done.result()


def run_job(job: Job, setting: Setting, vectors: VectorCache | None = None) -> Outcome:
    """Measure one draw and keep the result."""
    scenario = job.scenario
    vectors = vectors or VectorCache(setting.cache, setting.model)
    before_s = time.process_time()
    trial = Trial(setting.config(scenario, job.seed), vectors, scenario.exchanges_max)
    measure = measure_scale if scenario.measure == "scale" else MEASURES[scenario.measure]
    try:
        result = measure(trial, limits_for(setting))
    except InvalidError as error:
        # The simulator says that the text does not suffice for what is asked.
        return Outcome(job, reason=str(error))
    result |= {"exchanges": len(trial.traffic.events), "accounts": len(trial.traffic.truth)}
    result["job_cpu_s"] = round(time.process_time() - before_s, 1)
    _keep(_path(job, setting), json.dumps(result, allow_nan=False).encode())
    return Outcome(job, result)


@cache
def limits_for(setting: Setting) -> Limits:
    """The baselines' limits, fixed once for a text, a model and the code."""
    base = Config(corpus=setting.corpus, split=setting.split, responses=0.0)
    accounts = min(400, setting.accounts_max or 400)
    path = setting.cache / "results" / f"limits-{_key(setting, {'limits': accounts, 'split': setting.split})}.pickle"
    if path.exists():
        found: Limits = pickle.loads(path.read_bytes())
        return found
    limits = fix_limits(base, VectorCache(setting.cache, setting.model), accounts)
    _keep(path, pickle.dumps(limits))
    return limits


def known(job: Job, setting: Setting) -> Outcome | None:
    """What needs no running: a kept result, or a scenario that cannot be; None for the rest."""
    missing = job.scenario.missing_options()
    if missing:
        return Outcome(job, reason=f"the simulator has no option {', '.join(missing)}")
    try:
        path = _path(job, setting)
    except InvalidError as error:
        return Outcome(job, reason=str(error))
    return Outcome(job, json.loads(path.read_bytes()), cached=True) if path.exists() else None


def _path(job: Job, setting: Setting) -> Path:
    scenario = job.scenario
    what = {
        "config": asdict(setting.config(scenario, job.seed)),
        "measure": scenario.measure,
        "exchanges_max": scenario.exchanges_max,
    }
    return setting.cache / "results" / f"{scenario.measure}-{_key(setting, what)}.json"


def _keep(path: Path, content: bytes) -> None:
    """Whole or not at all, so that an interrupted run leaves nothing that looks like a result."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(f".{hashlib.blake2b(content, digest_size=8).hexdigest()}.partial")
    partial.write_bytes(content)
    partial.replace(path)


def _key(setting: Setting, what: dict[str, Any]) -> str:
    parts = {**what, "model": setting.model, "text": text_version(setting.corpus), "code": code_version()}
    parts |= {"accounts_max": setting.accounts_max, "versions": versions()}
    content = json.dumps(parts, sort_keys=True, default=str).encode()
    return hashlib.blake2b(content, digest_size=12).hexdigest()


@cache
def versions() -> dict[str, str]:
    """Versions of the packages that coterie needs at work, as far as they are installed."""
    found = {}
    for requirement in requires("coterie") or ():
        if 'extra == "dev"' in requirement:
            continue
        name = re.split(r"[^A-Za-z0-9._-]", requirement, maxsplit=1)[0]
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            # Of another extra, or the other build of FAISS.
            continue
    return dict(sorted(found.items()))


@cache
def code_version() -> str:
    """A digest of all code that results depend on."""
    digest = hashlib.blake2b(digest_size=12)
    files = [path for folder in CODE_FOLDERS for path in sorted((ROOT / folder).glob("*.py"))]
    files += [path for path in sorted((ROOT / "bench" / "detection").glob("*.py")) if path.name not in SHOWING]
    for path in files:
        digest.update(path.relative_to(ROOT).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


@cache
def text_version(corpus: Path | None) -> str:
    """A digest of the corpus: names, sizes and times of its files; the built-in text is code."""
    if corpus is None:
        return "built-in"
    found = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in sorted(corpus.glob("*.jsonl*"))]
    return hashlib.blake2b(repr(found).encode(), digest_size=12).hexdigest()
