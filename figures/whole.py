"""All pictures of a dossier, in the order in which an analyst reads them."""

from coterie.domain import Dossier
from coterie.figures.alikeness import alikeness_figure
from coterie.figures.benchmarks import benchmark_figures
from coterie.figures.families import families_figure
from coterie.figures.figure import Figure
from coterie.figures.lineage import lineage_figure
from coterie.figures.null import null_figure
from coterie.figures.overlap import overlap_figure
from coterie.figures.raster import raster_figure
from coterie.figures.volume import volume_figure


def draw(dossier: Dossier) -> tuple[Figure, ...]:
    """The pictures there is something to draw for."""
    figures = (
        null_figure(dossier),
        alikeness_figure(dossier),
        raster_figure(dossier),
        families_figure(dossier),
        overlap_figure(dossier),
        *benchmark_figures(dossier),
        volume_figure(dossier),
        lineage_figure(dossier),
    )
    return tuple(figure for figure in figures if figure is not None)


PICTURE_OF = {
    "exchangeability": "null",
    "label_permutation": "null",
    "neighbour_mixing": "alikeness",
    "own_manner": "alikeness",
    "share_spread": "volume",
    "equal_shares": "volume",
    "volume_past": "volume",
    "other_traffic": "volume",
    "history": "volume",
    "excess_links": "families",
    "template": "families",
    "subject_stretches": "families",
    "partition": "overlap",
    "repeats": "overlap",
    "benchmark_coverage": "benchmark-1",
    "benchmark_dealt": "benchmark-1",
    "benchmark_order": "benchmark-1",
    "synchrony": "raster",
    "relay": "raster",
    "batch_rhythm": "raster",
    "own_rhythm": "raster",
    "equal_rhythm": "raster",
    "equal_spans": "raster",
    "keeps_hours": "raster",
}
"""By the name of a piece of evidence, the picture in which it is seen; what is not here is seen in none."""
