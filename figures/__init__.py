"""Pictures of a finding: a dossier drawn as SVG that stands alone, for a page, a report and print."""

from coterie.figures.alikeness import alikeness_figure
from coterie.figures.benchmarks import benchmark_figures
from coterie.figures.families import families_figure
from coterie.figures.figure import Figure
from coterie.figures.lineage import lineage_figure
from coterie.figures.null import null_figure
from coterie.figures.overlap import overlap_figure
from coterie.figures.raster import raster_figure
from coterie.figures.volume import volume_figure
from coterie.figures.whole import PICTURE_OF, draw

__all__ = [
    "PICTURE_OF",
    "Figure",
    "alikeness_figure",
    "benchmark_figures",
    "draw",
    "families_figure",
    "lineage_figure",
    "null_figure",
    "overlap_figure",
    "raster_figure",
    "volume_figure",
]
