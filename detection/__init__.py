"""How a campaign is told from a crowd: pure functions from a window of exchanges to findings with evidence."""

from coterie.detection.benchmarks import METHODS, match_items
from coterie.detection.comparison import compare_sets
from coterie.detection.fingerprints import FingerprintIndex
from coterie.detection.formats import with_format
from coterie.detection.joining import join_families
from coterie.detection.languages import LANGUAGES, detect_languages
from coterie.detection.parameters import Parameters
from coterie.detection.pipeline import Detection, detect
from coterie.detection.programs import ProgramIndex
from coterie.detection.views import stripped_texts, without_language
from coterie.detection.warm import warm_up
from coterie.detection.watching import fits_pool, has_grown, near_pools, newcomers, sample

__all__ = [
    "LANGUAGES",
    "METHODS",
    "Detection",
    "FingerprintIndex",
    "Parameters",
    "ProgramIndex",
    "compare_sets",
    "detect",
    "detect_languages",
    "fits_pool",
    "has_grown",
    "join_families",
    "match_items",
    "near_pools",
    "newcomers",
    "sample",
    "stripped_texts",
    "warm_up",
    "with_format",
    "without_language",
]
