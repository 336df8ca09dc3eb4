"""How a campaign is told from a crowd: pure functions from a window of exchanges to findings with evidence."""

from coterie.detection.benchmarks import match_items
from coterie.detection.comparison import compare_sets
from coterie.detection.families import warm_up
from coterie.detection.joining import join_families
from coterie.detection.languages import LANGUAGES, detect_languages
from coterie.detection.parameters import Parameters
from coterie.detection.pipeline import Detection, detect
from coterie.detection.views import stripped_texts

__all__ = [
    "LANGUAGES",
    "Detection",
    "Parameters",
    "compare_sets",
    "detect",
    "detect_languages",
    "join_families",
    "match_items",
    "stripped_texts",
    "warm_up",
]
