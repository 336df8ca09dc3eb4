"""What a run does, top to bottom: embed, window, views, graph, benchmarks, detect."""

from dataclasses import replace

from coterie.detection import Parameters, compare_sets, detect
from coterie.domain import (
    Finding,
    InvalidError,
    Lineage,
    ParameterSet,
    Run,
    RunId,
    SearchFilter,
    Slice,
    TextField,
    Watch,
    format_time,
)
from coterie.embedder import is_encoder_name
from coterie.server.benchmarks import Benchmarks
from coterie.server.config import Config
from coterie.server.embedding import Embedding
from coterie.server.families import family_history, slice_name
from coterie.server.graphs import Graphs
from coterie.server.jobs import Outcome
from coterie.server.lost_texts import with_lost_texts
from coterie.server.multilingual import Multilingual
from coterie.server.stages import Stages
from coterie.server.views import WindowBuilder
from coterie.server.watching import EARLY, provisional
from coterie.store import Store

US_PER_DAY = 86_400_000_000

_MODEL_HINT = (
    "; a slice's model is the one that answered. The embedding model is the folder's, and named before the verb: "
    "coterie --model NAME recluster"
)

GONE_FINDINGS_MAX = 500
"""Findings that went last, of which one that comes back is known again."""


class Pipeline:
    """Re-clusters a window."""

    def __init__(
        self,
        store: Store,
        embedding: Embedding,
        multilingual: Multilingual,
        benchmarks: Benchmarks,
        graphs: Graphs,
        config: Config,
    ) -> None:
        self._store = store
        self._embedding = embedding
        self._builder = WindowBuilder(store, embedding, multilingual, benchmarks, graphs, config)
        self._window_us = round(config.window_days * US_PER_DAY)

    def recluster(self, run: Run, stages: Stages) -> Outcome:
        """The run with window, parameters and measures filled in, its findings, standings and families.

        Of a run on a slice, everything but what is compared with is the slice's: only its exchanges are read, and its
        findings are matched with those of the last run of an equal slice. With responses as its field, those that have
        none drop out, and the others' responses are the texts from here on. With several parameter sets, texts,
        vectors and graphs are made once; findings come from the first.

        Raises:
            InvalidError: no exchange lies in the window, or none passes a filter, which it names.
            CancelledRunError: the run was asked to stop.
        """
        self._check_some(run, *self._bounds(run))  # before what takes long, so that a mistyped filter is told at once
        stages.enter("embed")
        stages.measures["texts_embedded"] = self._embedding.embed_pending(stages.progress, stages.cancelled)
        stages.enter("window")
        since_us, until_us = self._bounds(run)
        self._check_some(run, since_us, until_us)
        last_vector = self._store.last_vector()
        last_sequence, last_text = self._store.log_position()
        rows = self._store.window(run.slice.within(since_us, until_us), run.slice.field)
        last = self._store.last_done(run.slice)
        earlier = self._earlier(last, run.slice) if last else []
        whole = replace(run.slice, field=TextField.PROMPT).is_whole and not run.since_us and not run.until_us
        window = self._builder.build(rows, run.slice, earlier, stages, whole=whole)
        sets = [Parameters().turned(item) for item in run.sets or (ParameterSet(),)]
        parameters = sets[0]
        history = family_history(self._store, run, parameters)
        detection = detect(window, parameters, history=history, progress=stages.follow, cancelled=stages.cancelled)
        compared: dict[str, float] = {}
        if len(sets) > 1:
            stages.enter("compare")
            compared = compare_sets(window, sets, cancelled=stages.cancelled)
        stages.leave()
        done = replace(
            run,
            since_us=since_us,
            until_us=until_us,
            parameters=parameters.as_dict(),
            measures={**detection.measures, **compared, **stages.measures},
            sets=tuple(ParameterSet(item.min_samples, item.min_cluster_size) for item in sets[: len(run.sets)]),
        )
        findings = [replace(finding, run_id=run.run_id) for finding in detection.findings]
        if run.trigger == EARLY:
            findings = provisional(findings, earlier, self._store.watched_pools().values())
        findings = with_lost_texts(findings, window)
        families = detection.families
        if families is not None:
            families = replace(families, slice=slice_name(run, parameters), last_vector=last_vector)
        # An early run looks at everything in the default window: only a run that did, too, can ask for one.
        pools = detection.watched if slice_name(run, parameters) == "" else ()
        return Outcome(done, findings, detection.standings, families, Watch(last_sequence, last_text, pools))

    def _earlier(self, last: RunId, part: Slice) -> list[Finding]:
        """What the run before reported, and what was gone already: it may come back."""
        reported = [finding for finding in self._store.reported(last)[1] if finding.lineage is not Lineage.GONE]
        return reported + self._store.gone(part, GONE_FINDINGS_MAX)

    def _check_some(self, run: Run, since_us: int, until_us: int) -> None:
        """Raise InvalidError where nothing of the window passes; it names the first filter that alone is to blame."""
        part, period = run.slice, f"between {format_time(since_us)} and {format_time(until_us)}"

        def none(search_filter: SearchFilter, field: TextField = TextField.PROMPT) -> bool:
            texts = self._store.candidate_texts(field, search_filter, limit=0)
            return texts is not None  # None says that there are more than the limit

        if not none(part.within(since_us, until_us), part.field):
            return
        within = SearchFilter(since_us=since_us, until_us=until_us)
        if none(within):
            raise InvalidError(f"no exchange {period}: choose another window")
        if none(within, part.field):
            raise InvalidError(
                f"the slice is empty: field is response, no exchange {period} has one", field="slice.field"
            )
        for name, search_filter in (
            ("models", replace(within, models=part.models)),
            ("account_ids", replace(within, accounts=part.accounts)),
            ("attributes", replace(within, attributes=part.attributes)),
        ):
            if none(search_filter):
                hint = _MODEL_HINT if name == "models" and any(map(is_encoder_name, part.models)) else ""
                raise InvalidError(
                    f"the slice is empty: no exchange {period} passes {name}{hint}", field=f"slice.{name}"
                )
        raise InvalidError(f"the slice is empty: no exchange {period} passes all its filters", field="slice")

    def _bounds(self, run: Run) -> tuple[int, int]:
        """The window asked for; by default the days up to and with the newest exchange."""
        times = self._store.time_range()
        if times is None:
            raise InvalidError("there are no exchanges: ingest some first")
        until_us = run.until_us or times[1] + 1
        return run.since_us or until_us - self._window_us, until_us
