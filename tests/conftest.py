"""What all tests share."""

import os

# As the command line does: idle OpenMP threads that spin slow down whoever shares the cores.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")
