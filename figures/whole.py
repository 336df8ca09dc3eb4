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
