"""What a run does, top to bottom: embed, window, views, graph, benchmarks, detect."""

from dataclasses import replace

from coterie.detection import Parameters, detect
from coterie.domain import Finding, InvalidError, Run, SearchFilter, Standing, format_time
from coterie.server.benchmarks import Benchmarks
from coterie.server.config import Config
from coterie.server.embedding import Embedding
from coterie.server.stages import Stages
from coterie.server.views import WindowBuilder
from coterie.store import Store

US_PER_DAY = 86_400_000_000


class Pipeline:
    """Re-clusters a window."""

    def __init__(self, store: Store, embedding: Embedding, benchmarks: Benchmarks, config: Config) -> None:
        self._store = store
        self._embedding = embedding
        self._builder = WindowBuilder(store, embedding, benchmarks, config)
        self._window_us = round(config.window_days * US_PER_DAY)

    def recluster(self, run: Run, stages: Stages) -> tuple[Run, list[Finding], list[Standing]]:
        """The run with window, parameters and measures filled in, its findings and every account's standing.

        Raises:
            InvalidError: no exchange lies in the window.
            CancelledRunError: the run was asked to stop.
        """
        stages.enter("embed")
        stages.measures["texts_embedded"] = self._embedding.embed_pending(stages.progress, stages.cancelled)
        stages.enter("window")
        since_us, until_us = self._bounds(run)
        rows = self._store.window(SearchFilter(since_us=since_us, until_us=until_us))
        if not rows.size:
            raise InvalidError(
                f"no exchange between {format_time(since_us)} and {format_time(until_us)}: choose another window"
            )
        _, earlier = self._store.findings()
        window = self._builder.build(rows, earlier, stages)
        parameters = Parameters()
        detection = detect(window, parameters, progress=stages.follow, cancelled=stages.cancelled)
        stages.leave()
        done = replace(
            run,
            since_us=since_us,
            until_us=until_us,
            parameters=parameters.as_dict(),
            measures={**detection.measures, **stages.measures},
        )
        findings = [replace(finding, run_id=run.run_id) for finding in detection.findings]
        return done, findings, list(detection.standings)

    def _bounds(self, run: Run) -> tuple[int, int]:
        """The window asked for; by default the days up to and with the newest exchange."""
        times = self._store.time_range()
        if times is None:
            raise InvalidError("there are no exchanges: ingest some first")
        until_us = run.until_us or times[1] + 1
        return run.since_us or until_us - self._window_us, until_us
