"""Composes accounts into traffic: opaque ids, attributes, models, tokens, and the truth beside it."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random

from coterie.domain import AccountId, Exchange, ExchangeId, InvalidError, exchange_to_json
from coterie.simulation import phrases
from coterie.simulation.builtin import builtin_sources
from coterie.simulation.campaigns import campaign, plan_campaigns
from coterie.simulation.clock import HOUR_US, Span
from coterie.simulation.config import Config
from coterie.simulation.corpus import clean, read_corpus
from coterie.simulation.crowds import release_us
from coterie.simulation.library import Library, check_library, split_sources
from coterie.simulation.people import Actor, Ask, World
from coterie.simulation.population import innocents

START_US = 1_772_409_600_000_000  # 2026-03-02T00:00:00Z, a Monday
_SESSION_GAP_US = HOUR_US // 4
# name, US dollars a million input and output tokens, weight
_MODELS = {"nimbus-large": (3.0, 15.0, 40), "nimbus-small": (0.25, 1.25, 45), "nimbus-code": (2.0, 8.0, 15)}
_NEW_MODEL, _NEW_PRICE = "nimbus-large-2", (4.0, 18.0)
_CLIENTS = {"web": 30, "python-sdk": 28, "node-sdk": 14, "ios": 9, "android": 9, "curl": 6, "go-sdk": 4}


@dataclass(frozen=True, slots=True)
class Traffic:
    """Composed traffic.

    Attributes:
        events: exchanges in order of time.
        truth: for each account its `label` (a campaign's name, or `benign`), its `kind` (the class) and, where it
            belongs to one, its `crowd`.
    """

    events: list[Exchange]
    truth: dict[str, dict[str, str]]


def simulate(config: Config, progress: Callable[[str, float], None] | None = None) -> Traffic:
    """Traffic of many accounts with ground truth; the same configuration gives the same traffic.

    Args:
        config: what to compose.
        progress: told the stage and how much of it all is done, 0 to 1.

    Raises:
        InvalidError: the corpus is missing or holds too little.
    """
    tell = progress or (lambda _stage, _share: None)
    tell("reading text", 0.0)
    world = World(_library(config), config, Span(START_US, config.days))
    tell("composing campaigns", 0.4)
    rng = Random(f"{config.seed}/campaigns")
    actors = [actor for plan in plan_campaigns(world, rng) for actor in campaign(world, rng, plan)]
    tell("composing innocents", 0.6)
    count = max(1, round((config.accounts - len(actors)) * config.background))
    actors += innocents(world, Random(f"{config.seed}/innocents"), count)
    tell("writing exchanges", 0.8)
    traffic = _compose(config, world, actors)
    tell("done", 1.0)
    return traffic


def write_traffic(traffic: Traffic, out: Path) -> None:
    """Write `events.jsonl` and `truth.json` into the folder `out`, which is made when it is missing.

    Raises:
        InvalidError: the folder or a file in it cannot be written.
    """
    try:
        _write(traffic, out)
    except OSError as error:
        raise InvalidError(
            f"{out} cannot be written ({error.strerror}): name another folder", field="out", reason="bad_out"
        ) from error


def _write(traffic: Traffic, out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    with (out / "events.jsonl").open("w", encoding="utf-8", newline="\n") as lines:
        for exchange in traffic.events:
            lines.write(exchange_to_json(exchange) + "\n")
    text = json.dumps(traffic.truth, ensure_ascii=False, indent=0, sort_keys=True)
    (out / "truth.json").write_text(text + "\n", encoding="utf-8")


def _library(config: Config) -> Library:
    if config.corpus is None:
        sources = builtin_sources(config.seed, round(config.accounts * max(1.0, config.background)))
    else:
        sources = read_corpus(
            config.corpus,
            prompt_chars_max=config.prompt_chars_max,
            response_chars_max=config.response_chars_max,
        )
    library = Library(split_sources(sources, config.split))
    check_library(library, campaigns=config.campaign_count)
    return library


def _compose(config: Config, world: World, actors: list[Actor]) -> Traffic:
    rng = Random(f"{config.seed}/ids")
    order = [actor for actor in actors if actor.asks]
    rng.shuffle(order)
    truth: dict[str, dict[str, str]] = {}
    events: list[Exchange] = []
    for actor in order:
        account_id = f"acct_{rng.getrandbits(64):016x}"
        truth[account_id] = {"label": actor.label, "kind": actor.kind} | ({"crowd": actor.crowd} if actor.crowd else {})
        events += _exchanges(config, world, rng, actor, account_id)
    events.sort(key=lambda exchange: (exchange.time_us, exchange.exchange_id))
    return Traffic(events, truth)


def _exchanges(config: Config, world: World, rng: Random, actor: Actor, account_id: str) -> list[Exchange]:
    attributes = _attributes(rng) | actor.attributes
    model = rng.choices(list(_MODELS), [entry[2] for entry in _MODELS.values()])[0]
    switches = actor.model == "new" or rng.random() < 0.3
    verbosity = rng.lognormvariate(5.1, 0.6)
    asks = sorted(actor.asks, key=lambda ask: (ask.time_us, ask.conversation, ask.turn))
    if rng.random() < 0.45:
        _name_sessions(asks)
    names: dict[str, str] = {}
    found = []
    for ask in asks:
        prompt = clean(ask.prompt, config.prompt_chars_max)
        if not prompt:
            continue
        used = _NEW_MODEL if switches and ask.time_us >= release_us(world) else model
        price_in, price_out = _NEW_PRICE if used == _NEW_MODEL else _MODELS[used][:2]
        tokens_in = 4 + (len(prompt) + len(ask.system)) // 4
        tokens_out = min(8_000, max(1, round(rng.lognormvariate(0, 0.8) * verbosity)))
        if ask.conversation and ask.conversation not in names:
            names[ask.conversation] = f"conv_{rng.getrandbits(64):016x}"
        response = ""
        if rng.random() < config.responses:
            response = clean(ask.response or _reply(rng, prompt), config.response_chars_max)
        found.append(
            Exchange(
                exchange_id=ExchangeId(f"ex_{rng.getrandbits(80):020x}"),
                account_id=AccountId(account_id),
                time_us=ask.time_us,
                prompt=prompt,
                response=response,
                system=ask.system,
                conversation_id=names.get(ask.conversation, ""),
                turn=ask.turn if ask.conversation else None,
                model=used,
                input_tokens=tokens_in,
                output_tokens=tokens_out,
                cost_usd=round((tokens_in * price_in + tokens_out * price_out) / 1e6, 6),
                attributes=attributes,
            )
        )
    return found


def _attributes(rng: Random) -> dict[str, str]:
    """Attributes as anybody's: guilty and innocent draw from the same hat."""
    attributes = {"client": rng.choices(list(_CLIENTS), list(_CLIENTS.values()))[0]}
    # A few large networks carry most accounts, as on the internet.
    attributes["asn"] = f"AS{64_512 + int(120 * rng.random() ** 2.5)}"
    if rng.random() < 0.7:
        attributes["payment"] = f"card-{rng.getrandbits(40):010x}"
    if rng.random() < 0.12:
        attributes["organisation"] = f"org-{rng.getrandbits(40):010x}"
    return attributes


def _name_sessions(asks: list[Ask]) -> None:
    """Give requests that follow one another within minutes one conversation, as some clients do."""
    number, turn, last_us = 0, 0, -1
    for ask in asks:
        if ask.conversation:
            continue
        if last_us < 0 or ask.time_us - last_us > _SESSION_GAP_US or turn > 20:
            number, turn = number + 1, 0
        ask.conversation, ask.turn = f"session{number}", turn
        turn, last_us = turn + 1, ask.time_us


def _reply(rng: Random, prompt: str) -> str:
    """A short reply for a prompt whose source gives none; refusals and one-word answers collide, as real ones do."""
    chance = rng.random()
    if chance < 0.06:
        return rng.choice(phrases.REFUSALS)
    if chance < 0.3:
        return rng.choice(phrases.SHORT_REPLIES)
    words = [word.strip("?.,:;!\"'()") for word in prompt.split()]
    longest = sorted(set(words), key=lambda word: (-len(word), word))[:2]
    return rng.choice(phrases.REPLY_FRAMES).replace("{}", " and ".join(word[:40] for word in longest) or "this")
