"""Composes multi-account traffic with ground truth (`simulate`) and scores findings against it (`evaluate`)."""

from coterie.simulation.compose import Traffic, simulate, write_traffic
from coterie.simulation.config import CROWDS, EVASIONS, KINDS, Config, Mix, Split
from coterie.simulation.evaluate import CampaignScore, ClassScore, HidingScore, Scores, evaluate

__all__ = [
    "CROWDS",
    "EVASIONS",
    "KINDS",
    "CampaignScore",
    "ClassScore",
    "Config",
    "HidingScore",
    "Mix",
    "Scores",
    "Split",
    "Traffic",
    "evaluate",
    "simulate",
    "write_traffic",
]
