"""The command's way in says what to install, in one line, when a part of the service is missing."""

import subprocess
import sys
from pathlib import Path

from coterie.store import open_store

START = """
import sys
missing, data_dir = sys.argv[1:]
sys.modules[missing] = None  # as if it were not installed
from coterie.server.__main__ import main
sys.argv = ["coterie", "--data-dir", data_dir, "--model", "hash", "--json", "stats"]
sys.exit(main())
"""


def stats_without(missing: str, data_dir: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", START, missing, str(data_dir)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_a_missing_part_is_named_with_the_way_out(tmp_path: Path) -> None:
    done = stats_without("rich", tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("coterie: rich is not installed")
    assert done.stderr.count("\n") == 1
    assert "pip install 'coterie[server]'" in done.stderr


def test_a_defect_of_ours_is_not_taken_for_a_missing_part(tmp_path: Path) -> None:
    done = stats_without("coterie.server.cli_render", tmp_path)
    assert done.returncode == 1
    assert "pip install" not in done.stderr
    assert "cli_render" in done.stderr


def test_with_everything_there_it_is_the_command_line(tmp_path: Path) -> None:
    open_store(tmp_path).close()
    done = stats_without("no_such_module", tmp_path)
    assert done.returncode == 0
    assert '"exchanges": 0' in done.stdout
