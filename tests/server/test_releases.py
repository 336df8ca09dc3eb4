"""Release dates of models: the forms they are given in, and their way into a run."""

from pathlib import Path

import pytest

from coterie.domain import InvalidError, parse_time
from coterie.server import load_config
from coterie.server.releases import parse_releases

NOVEMBER_US = parse_time("2026-11-01T00:00:00Z")


def test_a_date_is_its_midnight_utc_and_a_time_has_its_offset() -> None:
    found = parse_releases("model-x=2026-11-01, a=b = 2026-11-01T02:00:00+02:00,")
    assert dict(found) == {"model-x": NOVEMBER_US, "a=b": NOVEMBER_US}
    assert not parse_releases("")


@pytest.mark.parametrize("text", ["x", "=2026-11-01", "x=", "x=2026-11-31", "x=2026-11-01T08:00:00", "x=1,x=2"])
def test_what_is_no_release_is_refused_by_name(text: str) -> None:
    with pytest.raises(InvalidError, match="MODEL=TIME") as caught:
        parse_releases(text)
    assert caught.value.field == "releases"


@pytest.mark.parametrize("value", ['"2026-11-01"', "2026-11-01", "2026-11-01T00:00:00Z", "2026-11-01T01:00:00+01:00"])
def test_the_file_takes_a_table_of_dates_and_times(tmp_path: Path, value: str) -> None:
    file = tmp_path / "coterie.toml"
    file.write_text(f'[releases]\n"model-x" = {value}\n"y.1" = 2026-10-31\n')
    config = load_config(file, environment={})
    assert parse_releases(config.releases) == {"model-x": NOVEMBER_US, "y.1": NOVEMBER_US - 86_400_000_000}
    assert load_config(file, {"releases": "z=2026-11-01"}, environment={}).releases == "z=2026-11-01"


@pytest.mark.parametrize("table", ['"x,y" = 2026-11-01', "x = 2026-11-01T00:00:00", "x = 3", "x = 08:00:00"])
def test_a_table_of_something_else_is_refused(tmp_path: Path, table: str) -> None:
    file = tmp_path / "coterie.toml"
    file.write_text(f"[releases]\n{table}\n")
    with pytest.raises(InvalidError, match="releases"):
        load_config(file, environment={})
