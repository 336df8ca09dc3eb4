"""Without a FAISS build the import says which extra to install."""

import subprocess
import sys

CODE = """
import sys
sys.modules["faiss"] = None
from coterie.domain import UnavailableError
try:
    import coterie.index
except UnavailableError as error:
    print(error)
"""


def test_a_missing_faiss_names_the_extras():
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True, timeout=60)
    assert "pip install 'coterie[cpu]'" in done.stdout
    assert "pip install 'coterie[gpu]'" in done.stdout
