"""From what an engine left in its folder to how good it is."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.cluster.data import World
from bench.cluster.engines import REFERENCES
from bench.cluster.quality import RECALL_K, agreement, graph_recall, planted_quality, true_similarities


class Judge:
    """Says how good the engines' results on one world are; the references must come first."""

    def __init__(self, world: World, sample: NDArray[np.int64]) -> None:
        self._world = world
        self._sample = sample
        self._nearest = true_similarities(world.vectors, sample, RECALL_K)
        self._reference: tuple[str, NDArray[np.int32]] | None = None

    def results(self, result: dict[str, Any], out: Path) -> list[dict[str, Any]]:
        """The result with its quality, and one more for every further labelling the same call gave."""
        name, quality = result["engine"], {}
        if (out / "label.npy").exists():
            label = np.load(out / "label.npy")
            if name in REFERENCES and self._reference is None:
                self._reference = name, label
            quality = self._of_labels(label)
        if (out / "neighbours.npy").exists():
            world, neighbours = self._world, np.load(out / "neighbours.npy")
            recall = graph_recall(neighbours, self._sample, world.vectors, self._nearest, world.label)
            quality["graph_recall"] = recall
        results = [{**result, "quality": quality}]
        for path in sorted(out.glob("other-*.npy")):
            label = np.load(path)
            other = {"engine": f"{name}_{path.stem.removeprefix('other-')}", "same_call_as": name}
            clusters = len(np.unique(label[label >= 0]))
            results.append({**result, **other, "clusters": clusters, "quality": self._of_labels(label)})
        return results

    def _of_labels(self, label: NDArray[np.int32]) -> dict[str, Any]:
        quality: dict[str, Any] = planted_quality(label, self._world.label, self._world.band)
        if self._reference is not None:
            name, reference = self._reference
            quality |= {"ari": round(agreement(label, reference), 4), "ari_reference": name}
        return quality
