"""Rounds of SIGKILL: a real service, exchanges that stream in, something else that goes on, a kill, and a look."""

import contextlib
import random
import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from bench.faults import ledger
from bench.faults.service import Service
from bench.faults.streams import START_US, Stream, made
from coterie.client import Client, RetryPolicy
from coterie.domain import CoterieError
from coterie.server.backup import restore_backup, verify_backup

ACTIVITIES = ("ingest", "embedding", "run", "erasure", "snapshot", "backup")
_STREAMS = 3
_ERASED_EXCHANGES = 20
_EARLY_S, _LATE_S, _WHOLE_S = 1.2, 1.0, 8.0
_WHOLE_EVERY = 25
_SEARCHABLE_LOOKS = 600
_SMALL_WINDOW_US = START_US + 500_000_000  # the first 500 of each stream
_ONCE = RetryPolicy(attempts=1)


@dataclass
class Tally:
    """What came of the rounds; the first block are faults, and all 0 where the service keeps its word."""

    lost: int = 0
    doubled: int = 0
    invented: int = 0
    torn: int = 0
    unfinished_runs: int = 0
    last_good_run_lost: int = 0
    erasures_undone: int = 0
    erasures_halved: int = 0
    erasures_unproved: int = 0
    backups_torn: int = 0
    not_told: int = 0
    exit_codes_wrong: int = 0
    ended_by_itself: int = 0

    rounds: int = 0
    killed_in: Counter[str] = field(default_factory=Counter)
    acked: int = 0
    stored_before_their_ack_was_lost: int = 0
    sent_again: int = 0
    runs_cut_off: int = 0
    runs_done: int = 0
    erasures: int = 0
    erasures_cut_off: int = 0
    backups: int = 0
    backups_cut_off: int = 0
    restores: int = 0
    clean_stops: int = 0
    start_s: list[float] = field(default_factory=list)
    last_words: list[str] = field(default_factory=list)

    _FAULTS = (
        *("lost", "doubled", "invented", "torn", "unfinished_runs", "last_good_run_lost", "erasures_undone"),
        *("erasures_halved", "erasures_unproved", "backups_torn", "not_told", "exit_codes_wrong"),
        "ended_by_itself",
    )

    def faults(self) -> dict[str, int]:
        """The faults by name."""
        return {name: getattr(self, name) for name in self._FAULTS}

    def add(self, other: "Tally") -> None:
        """Count another's rounds too."""
        for item in fields(self):
            setattr(self, item.name, getattr(self, item.name) + getattr(other, item.name))

    def to_json(self) -> dict[str, Any]:
        """Everything; of the start-up times median and largest."""
        value = asdict(self) | {"killed_in": dict(self.killed_in)}
        times = sorted(value.pop("start_s"))
        if times:
            value |= {"start_s_median": round(times[len(times) // 2], 3), "start_s_max": round(times[-1], 3)}
        return value


class Rounds:
    """Kills the service again and again on one data folder, and looks after each start.

    Args:
        folder: an empty one, for everything that is written.
        seed: of when the kills come; what goes on then takes turns.
        whole_every: in one of so many rounds a run may end before the kill, and one is made at the end; 0 for none.
    """

    def __init__(self, folder: Path, seed: int, whole_every: int = _WHOLE_EVERY) -> None:
        self._whole_every = whole_every
        self.tally = Tally()
        self.stopping = threading.Event()
        """Set to end after the round at work, without the last look."""
        self._folder = folder
        self._database = folder / "data" / "coterie.db"
        self._rng = random.Random(seed)
        self._streams = [Stream(number, folder / f"acks-{number}.txt") for number in range(_STREAMS)]
        self._pending_erasures: dict[str, bool] = {}
        self._erased: list[str] = []
        self._partials: set[str] = set()
        self._good_run = ""

    def run(self, rounds: int, tell: Callable[[str], None] = lambda _: None) -> Tally:
        """So many rounds, then a last look and a clean stop."""
        try:
            for number in range(rounds):
                if self.stopping.is_set():
                    return self.tally
                activity = ACTIVITIES[number % len(ACTIVITIES)]
                self._round(number, activity)
                faults = sum(self.tally.faults().values())
                tell(f"round {number + 1} of {rounds}, killed in {activity}: {faults} faults")
            self._last_look(rounds)
        finally:
            for stream in self._streams:
                stream.close()
        return self.tally

    def _round(self, number: int, activity: str) -> None:
        service = Service(self._folder, number)
        stop = threading.Event()
        threads = [threading.Thread(target=stream.run, args=(service.address, stop)) for stream in self._streams]
        try:
            self.tally.start_s.append(service.start_s)
            self._look(service, first=number == 0)
            for thread in threads:
                thread.start()
            act = getattr(self, f"_{activity}")
            delay_s = act(service, number, threads)
            time.sleep(delay_s)
        except (CoterieError, RuntimeError):
            if service.alive:
                raise
        finally:
            self._note_end(service)
            service.kill()
            stop.set()
            for thread in threads:
                if thread.ident is not None:
                    thread.join()
        self.tally.rounds += 1
        self.tally.killed_in[activity] += 1
        self.tally.acked = sum(stream.acked for stream in self._streams)
        service.log.unlink()

    def _note_end(self, service: Service) -> None:
        """Count a service that ended before it was killed, and keep what it said."""
        if not service.alive:
            self.tally.ended_by_itself += 1
            self.tally.last_words.append(service.last_words())

    # What goes on when the kill comes. Each returns how long to wait for it, seconds.

    def _ingest(self, service: Service, number: int, threads: list[threading.Thread]) -> float:
        return self._rng.uniform(0.0, _EARLY_S)

    def _embedding(self, service: Service, number: int, threads: list[threading.Thread]) -> float:
        service.wait_for("indexes_ready")
        return self._rng.uniform(0.0, _LATE_S / 3)

    def _snapshot(self, service: Service, number: int, threads: list[threading.Thread]) -> float:
        service.wait_for("snapshot_saved")
        return self._rng.uniform(0.0, _LATE_S)

    def _run(self, service: Service, number: int, threads: list[threading.Thread]) -> float:
        with Client.connect(service.address, retry=_ONCE) as client:
            try:
                # Most are cut off; some are of a small window and end, so that there is a good run to stay.
                whole = self._whole_every and number % self._whole_every < len(ACTIVITIES)
                run = client.start_run(until_us=_SMALL_WINDOW_US if whole else None)
            except CoterieError as error:
                if "no exchanges yet" not in str(error):
                    raise
                return 0.0
            if whole:
                for _ in client.watch_run(run.run_id):
                    pass
                self._good_run = (ledger.done_runs(self._database) or [""])[-1]
        return self._rng.uniform(0.0, 2 * _EARLY_S)

    def _erasure(self, service: Service, number: int, threads: list[threading.Thread]) -> float:
        service.wait_for("indexes_ready")
        account = f"erased-{number}"
        with Client.connect(service.address, retry=_ONCE) as client:
            client.ingest([made(100 + number, item, account) for item in range(_ERASED_EXCHANGES)])
        time.sleep(self._rng.uniform(0.0, 0.3))  # some are embedded and in a snapshot by then, some are not
        self._pending_erasures[account] = False

        def erase() -> None:
            with contextlib.suppress(CoterieError), Client.connect(service.address, retry=_ONCE) as client:
                client.erase_account(account)
                self._pending_erasures[account] = True

        thread = threading.Thread(target=erase)
        thread.start()
        threads.append(thread)
        return self._rng.choice((0.6, _WHOLE_S)) * self._rng.random()  # in the middle, or about when it is answered

    def _backup(self, service: Service, number: int, threads: list[threading.Thread]) -> float:
        service.wait_for("indexes_ready")

        def back_up() -> None:
            with contextlib.suppress(CoterieError), Client.connect(service.address, retry=_ONCE) as client:
                for turn in range(100):
                    client.create_backup(f"b{number}-{turn}{('', '.tar.zst', '.tar.gz')[turn % 3]}")

        thread = threading.Thread(target=back_up)
        thread.start()
        threads.append(thread)
        return self._rng.choice((_EARLY_S, _WHOLE_S)) * self._rng.random()

    # What is looked at after a start.

    def _look(self, service: Service, *, first: bool) -> None:
        found = ledger.look(self._database, self._streams, settled=True)
        tally = self.tally
        tally.lost += found.lost
        tally.doubled += found.doubled
        tally.invented += found.invented
        tally.torn += found.torn
        tally.unfinished_runs += found.unfinished
        with Client.connect(service.address) as client:
            stats = client.stats()
            # Killed before it said so, the first process of a folder may have left nothing behind.
            tally.not_told += not first and not (stats.unclean_start and service.logged("unclean_start"))
            cut_off = len(service.logged("run_cut_off"))
            tally.not_told += cut_off != stats.runs_cut_off
            tally.runs_cut_off += cut_off
            if self._good_run:
                tally.last_good_run_lost += client.list_findings()[0] not in ledger.done_runs(self._database)
            self._look_at_erasures(service, client)
        self._look_at_backups()

    def _look_at_erasures(self, service: Service, client: Client) -> None:
        for account, answered in self._pending_erasures.items():
            left = ledger.of_account(self._database, account)
            self.tally.erasures += 1
            self.tally.erasures_cut_off += not answered
            self.tally.erasures_undone += answered and left > 0
            self.tally.erasures_halved += left not in (0, _ERASED_EXCHANGES)
            # Whoever had no answer asks again, and is answered with a search of the whole folder.
            erasure = client.erase_account(account)
            self.tally.erasures_unproved += erasure.proof is None or not erasure.proof.complete
            self._erased.append(account)
        for account in self._erased:
            self.tally.erasures_undone += ledger.of_account(self._database, account) > 0
        self._pending_erasures.clear()

    def _look_at_backups(self) -> None:
        """Every backup that has its name is whole; what was cut off has none."""
        folder = self._folder / "backups"
        for path in sorted(folder.glob("*")) if folder.exists() else ():
            if path.name.endswith(".coterie-partial"):
                self.tally.backups_cut_off += path.name not in self._partials
                self._partials.add(path.name)
                continue
            self.tally.backups += 1
            try:
                backup = verify_backup(path)
                if self.tally.backups % 10 == 1:
                    target = self._folder / "restored"
                    restore_backup(path, target)
                    self.tally.restores += 1
                    self.tally.backups_torn += ledger.count(target / "coterie.db") != backup.exchanges
                    shutil.rmtree(target)
            except CoterieError:
                self.tally.backups_torn += 1
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    def _last_look(self, number: int) -> None:
        """Start once more, look, let everything be embedded and found, and stop cleanly."""
        service = Service(self._folder, number)
        try:
            self._look(service, first=number == 0)
            service.wait_for("indexes_ready")
            with Client.connect(service.address) as client:
                if self._whole_every:
                    run = client.start_run(until_us=_SMALL_WINDOW_US)
                    for state in client.watch_run(run.run_id):
                        run = state
                    self.tally.unfinished_runs += run.state.value != "done"
                _wait_until_searchable(client)
                stream = self._streams[0]
                for item in sorted(self._rng.sample(range(stream.acked), min(20, stream.acked))):
                    wanted = made(stream.number, item)
                    hits = client.search(wanted.prompt, k=1).hits
                    self.tally.lost += not hits or hits[0].exchange.prompt != wanted.prompt
                # Whoever missed all acknowledgements sends everything again: it is there, once.
                summary = client.ingest(made(stream.number, item) for item in range(stream.acked))
                self.tally.lost += summary.stored
                self.tally.doubled += summary.answered - summary.duplicates - summary.stored
            code = service.stop()
            self.tally.exit_codes_wrong += code != 0
            self.tally.clean_stops += code == 0
        finally:
            service.kill()
        again = Service(self._folder, number + 1)
        try:
            with Client.connect(again.address) as client:
                self.tally.not_told += client.stats().unclean_start
            self.tally.exit_codes_wrong += again.stop() != 0
        finally:
            again.kill()
        self.tally.runs_done = len(ledger.done_runs(self._database))
        self.tally.stored_before_their_ack_was_lost = sum(stream.found for stream in self._streams)
        self.tally.sent_again = sum(stream.resent for stream in self._streams)


def _wait_until_searchable(client: Client) -> None:
    """Wait until every prompt is embedded and in the index; what an index never takes in, the searches miss."""
    for _ in range(_SEARCHABLE_LOOKS):
        stats = client.stats()
        rows = sum(segment.rows for segment in stats.segments if segment.field == "prompt")
        if not stats.pending_texts and rows:
            return
        time.sleep(0.1)
