"""Vector search and the k-nearest-neighbour graph, on FAISS, with a NumPy twin as the oracle.

Importing this package needs a FAISS build: `pip install 'coterie[cpu]'` or `pip install 'coterie[gpu]'`, never both.
"""

from coterie.index.graph import graph_recall, neighbour_graph
from coterie.index.living import LivingGraph
from coterie.index.numpy_index import NumpyIndex
from coterie.index.segments import SegmentedIndex, snapshot_files
from coterie.index.snapshot import open_snapshot, snapshot_header
from coterie.index.vector_index import IndexState, VectorIndex
from coterie.index.warm import warm_up

__all__ = [
    "IndexState",
    "LivingGraph",
    "NumpyIndex",
    "SegmentedIndex",
    "VectorIndex",
    "graph_recall",
    "neighbour_graph",
    "open_snapshot",
    "snapshot_files",
    "snapshot_header",
    "warm_up",
]
