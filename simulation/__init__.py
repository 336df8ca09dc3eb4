"""Composes multi-account traffic with ground truth (`simulate`) and scores findings against it (`evaluate`)."""

from coterie.simulation.compose import Traffic, simulate, write_traffic
from coterie.simulation.config import EVASIONS, Config

__all__ = ["EVASIONS", "Config", "Traffic", "simulate", "write_traffic"]
