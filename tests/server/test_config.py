"""Settings: three sources, one order, and errors that name the setting."""

from dataclasses import fields
from pathlib import Path

import pytest

from coterie.domain import InvalidError
from coterie.server import Config, load_config


def test_a_flag_beats_the_environment_beats_the_file(tmp_path: Path) -> None:
    file = tmp_path / "coterie.toml"
    file.write_text('model = "from-file"\nwindow_days = 3\ndevice = "cpu"\n')
    environment = {"COTERIE_MODEL": "from-environment", "COTERIE_WINDOW_DAYS": "4.5", "HOME": "/"}
    config = load_config(file, {"model": "from-flag", "graph_k": None}, environment=environment)
    assert (config.model, config.window_days, config.device) == ("from-flag", 4.5, "cpu")
    assert config.graph_k == Config().graph_k


def test_every_setting_can_come_from_the_environment() -> None:
    words = {str: "x", int: "3", float: "2.5", bool: "true", Path: "/tmp/x"}
    special = {"listen": "localhost:1", "schedule": "6h", "log_level": "debug", "log_format": "text"}
    special |= {
        "metrics_listen": "localhost:3",
        "trace_endpoint": "http://localhost:4",
        "trace_sample": "0.5",
    }
    special |= {"console_listen": "localhost:2", "tls_callers": "x=admin", "texts": "drop", "analyst_accounts_min": "4"}
    special |= {"releases": "x=2026-11-01"}
    environment = {f"COTERIE_{item.name.upper()}": special.get(item.name, words[item.type]) for item in fields(Config)}
    config = load_config(environment=environment)
    for item in fields(Config):
        assert type(getattr(config, item.name)) is item.type or isinstance(getattr(config, item.name), Path)
        assert getattr(config, item.name) != getattr(Config(), item.name), item.name


def test_the_corpus_variable_is_not_a_setting() -> None:
    assert load_config(environment={"COTERIE_CORPUS": "/somewhere"}) == Config()


@pytest.mark.parametrize(
    ("settings", "field", "says"),
    [
        ({"window_dais": 3}, "window_dais", "did you mean window_days"),
        ({"window_days": "soon"}, "window_days", "must be a number"),
        ({"window_days": float("nan")}, "window_days", "between"),
        ({"window_days": -1}, "window_days", "between"),
        ({"console_listen": "unix:/tmp/x"}, "console_listen", "HOST:PORT or empty"),
        ({"graph_k": 2.5}, "graph_k", "whole number"),
        ({"graph_k": True}, "graph_k", "whole number"),
        ({"lazy_model": "maybe"}, "lazy_model", "true or false"),
        ({"data_dir": ""}, "data_dir", "a path"),
        ({"listen": "nowhere"}, "listen", "HOST:PORT"),
        ({"releases": "model-x"}, "releases", "MODEL=TIME"),
        ({"releases": "model-x=soon"}, "releases", "MODEL=TIME"),
        ({"releases": "x=2026-11-01,x=2026-11-02"}, "releases", "each model once"),
        ({"releases": {"x": 3}}, "releases", "must be text"),
        ({"listen": "host:123456"}, "listen", "HOST:PORT"),
        ({"log_level": "loud"}, "log_level", "debug, info"),
        ({"metrics_listen": "7432"}, "metrics_listen", "HOST:PORT"),
        ({"metrics_listen": "0.0.0.0:7432"}, "metrics_listen", "metrics_beyond_loopback"),
        ({"metrics_listen": "127.evil.example:7432"}, "metrics_listen", "metrics_beyond_loopback"),
        ({"metrics_listen": "[::]:7432"}, "metrics_listen", "metrics_beyond_loopback"),
        ({"trace_endpoint": "collector:4317"}, "trace_endpoint", "http://HOST:PORT"),
        ({"trace_sample": 1.5}, "trace_sample", "between 0 and 1"),
        ({"log_format": "xml"}, "log_format", "json, text"),
        ({"model": ""}, "model", "empty"),
        ({"schedule": "often"}, "schedule", "30m, 6h, 1d"),
    ],
)
def test_a_bad_setting_is_named(settings: dict[str, object], field: str, says: str) -> None:
    with pytest.raises(InvalidError, match=says) as caught:
        load_config(None, settings, environment={})
    assert caught.value.field == field


def test_errors_say_where_the_setting_came_from(tmp_path: Path) -> None:
    with pytest.raises(InvalidError, match="environment variable COTERIE_GRAPH_KK"):
        load_config(environment={"COTERIE_GRAPH_KK": "3"})
    file = tmp_path / "c.toml"
    file.write_text("graph_k = 'many'")
    with pytest.raises(InvalidError, match=r"c\.toml: graph_k"):
        load_config(file, environment={})
    file.write_text("graph_k = ")
    with pytest.raises(InvalidError, match="not TOML"):
        load_config(file, environment={})
    with pytest.raises(InvalidError, match="cannot read"):
        load_config(tmp_path / "absent.toml", environment={})
