"""sentence-transformers models, fed with length-sorted batches of a token budget. Imports torch."""

import contextlib
import logging
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer
from transformers.utils import logging as transformers_logging

from coterie.domain import LIMITS, InvalidError, UnavailableError
from coterie.domain.telemetry import EmbeddedBatch, OnBatch
from coterie.embedder.batching import padded, token_budget_batches, window_bounds
from coterie.embedder.encoder import Cancelled, Progress, Waited, check_cancelled, check_texts, unit_rows
from coterie.embedder.tokenising import Tokenisers, Tokens
from coterie.embedder.turns import Turns

_log = logging.getLogger(__name__)

_BATCH_TOKENS_CPU = {torch.bfloat16: 4_096, torch.float32: 1_024}
"""A tenth of a second of two cores, which is what a query waits at most; larger batches are slower."""

_BATCH_TOKENS_GPU = 65_536
_SHELF_TEXTS = 8_192
"""Texts tokenised, sorted and embedded together: enough for full batches, and it bounds the memory for tokens."""

_TOKENISERS_MAX = 4
"""Threads that tokenise: each makes some 12,000 mixed texts a second, and a GPU takes tens of thousands."""

_TOKENS_DEFAULT = 512
"""Window of a model that states none."""


@dataclass(frozen=True, slots=True)
class _Frame:
    """The token ids that a model wants around every window: special tokens, and its default prompt if it has one."""

    before: list[int]
    after: list[int]
    prompt_tokens: int

    @property
    def tokens(self) -> int:
        return len(self.before) + len(self.after)


class SentenceTransformerEncoder:
    """An encoder around a sentence-transformers model. Thread-safe: one thread at a time owns the model.

    A text longer than the model's input is cut into windows of that many tokens: all of it when 8 windows hold it,
    otherwise 8 windows spread evenly, the first and the last included. The vector is the mean of the window vectors,
    weighted by their tokens, scaled to length 1. Where the hardware has bfloat16 arithmetic the model is held in it:
    twice as fast as casting before each product, at a cosine to float32 above .9998 (.99995 on average).

    Args:
        folder: a model as sentence-transformers saves it; nothing is downloaded.
        model_id: the name of its vector space.
        device: `auto`, `cpu`, `cuda`, `cuda:1`, ...
        batch_tokens: padded tokens a batch; by default 4,096 on a CPU with bfloat16, 1,024 without, 65,536 on a GPU.
        bfloat16: by default where the hardware has it.

    Raises:
        InvalidError: the device makes no sense, or the model has no fast tokenizer.
        UnavailableError: the model cannot be read, or the device is not there.
    """

    def __init__(
        self,
        folder: Path,
        model_id: str,
        *,
        device: str = "auto",
        batch_tokens: int | None = None,
        bfloat16: bool | None = None,
    ) -> None:
        self.model_id = model_id
        self.device = choose_device(device)
        self._model = _load(folder, model_id, self.device)
        self._tokenizer = _fast_tokenizer(self._model, model_id)
        self._tokenisers = Tokenisers(self._tokenizer, min(_TOKENISERS_MAX, os.cpu_count() or 1))
        self._pad_id = int(self._model.tokenizer.pad_token_id or 0)
        self._frame = self._make_frame()
        self._capacity = (self._model.max_seq_length or _TOKENS_DEFAULT) - self._frame.tokens
        if self._capacity < 1:
            raise InvalidError(f"model {model_id!r}: its prompt leaves no room for text", field="model")
        self.dtype = torch.bfloat16 if (has_bfloat16(self.device) if bfloat16 is None else bfloat16) else torch.float32
        self._model.to(self.dtype)
        self._batch_tokens = batch_tokens or (
            _BATCH_TOKENS_CPU[self.dtype] if self.device == "cpu" else _BATCH_TOKENS_GPU
        )
        self._turns = Turns()
        self.on_batch: OnBatch | None = None
        """Told of every batch, on the thread that computed it; it must be quick and must not raise."""
        self.dim = self._probe_dim()
        _log.info("loaded %s on %s, dim %d, %s", model_id, self.device, self.dim, self.dtype)

    def encode(
        self,
        texts: Sequence[str],
        *,
        progress: Progress | None = None,
        cancelled: Cancelled | None = None,
        urgent: bool = False,
        waited: Waited | None = None,
    ) -> NDArray[np.float32]:
        """Embed n texts, in their order: float32[n, dim], unit rows. See `Encoder.encode`."""
        check_texts(texts)
        vectors = np.empty((len(texts), self.dim), dtype=np.float32)
        with torch.inference_mode():
            start = 0
            check_cancelled(cancelled)
            for shelf in self._tokenisers.ahead(texts, _SHELF_TEXTS):
                for done, rows, means in self._encode_shelf(shelf, cancelled, urgent, waited):
                    vectors[start + rows] = means
                    if progress is not None:
                        progress(start + done)
                start += len(shelf)
        return vectors

    def _encode_shelf(
        self, texts: Tokens, cancelled: Cancelled | None, urgent: bool, waited: Waited | None
    ) -> Iterator[tuple[int, NDArray[np.int64], NDArray[np.float32]]]:
        """Yield (texts done, rows finished by this batch, their unit vectors)."""
        windows, owners = self._windows(texts)
        unfinished = np.bincount(owners, minlength=len(texts))
        sums = np.zeros((len(texts), self.dim), dtype=np.float32)
        lengths = [len(window) + self._frame.tokens for window in windows]
        for batch in token_budget_batches(lengths, self._batch_tokens):
            check_cancelled(cancelled)
            weights = np.array([max(1, len(windows[window])) for window in batch], dtype=np.float32)
            # Held for one batch only: between two, another thread's few texts may go first.
            with self._turns.turn(urgent=urgent) as waited_ns:
                started = time.perf_counter()
                vectors = self._forward_halving([windows[window] for window in batch])
                duration_s = time.perf_counter() - started
            if self.on_batch is not None:
                sizes = [lengths[window] for window in batch]
                self.on_batch(EmbeddedBatch(len(sizes), sum(sizes), len(sizes) * padded(max(sizes)), duration_s))
            if waited is not None:
                waited(waited_ns)
            batch_owners = owners[batch]
            np.add.at(sums, batch_owners, vectors * weights[:, None])
            np.subtract.at(unfinished, batch_owners, 1)
            rows = np.unique(batch_owners)
            rows = rows[unfinished[rows] == 0]
            yield int((unfinished == 0).sum()), rows, unit_rows(sums[rows])

    def _windows(self, texts: Tokens) -> tuple[list[list[int]], NDArray[np.int64]]:
        """Token ids of every window, without special tokens, and the number of the text it is from."""
        windows: list[list[int]] = []
        owners: list[int] = []
        for owner, ids in enumerate(texts):
            for start, stop in window_bounds(len(ids), self._capacity):
                windows.append(ids[start:stop])
                owners.append(owner)
        return windows, np.array(owners, dtype=np.int64)

    def _forward_halving(self, windows: Sequence[list[int]]) -> NDArray[np.float32]:
        """`_forward`, in ever smaller parts when the device has not enough memory for the whole batch."""
        try:
            return self._forward(windows)
        except torch.OutOfMemoryError as error:
            if len(windows) == 1:
                raise UnavailableError(
                    f"device {self.device} has not enough memory for one window of {self.model_id!r}: use device cpu"
                ) from error
        half = len(windows) // 2
        return np.vstack([self._forward_halving(windows[:half]), self._forward_halving(windows[half:])])

    def _forward(self, windows: Sequence[list[int]]) -> NDArray[np.float32]:
        """One batch through the model: float32[len(windows), dim], unit rows."""
        frame = self._frame
        longest = min(padded(max(len(window) for window in windows) + frame.tokens), self._capacity + frame.tokens)
        ids = np.full((len(windows), longest), self._pad_id, dtype=np.int64)
        mask = np.zeros((len(windows), longest), dtype=np.int64)
        for row, window in enumerate(windows):
            sequence = frame.before + window + frame.after
            ids[row, : len(sequence)] = sequence
            mask[row, : len(sequence)] = 1
        features = {
            "input_ids": torch.from_numpy(ids).to(self.device),
            "attention_mask": torch.from_numpy(mask).to(self.device),
        }
        if frame.prompt_tokens:
            features["prompt_length"] = torch.full((len(windows),), frame.prompt_tokens, device=self.device)
        embedding = self._model(features)["sentence_embedding"]
        return unit_rows(embedding.float().cpu().numpy())

    def _make_frame(self) -> _Frame:
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        bare = self._tokenizer.encode("a", add_special_tokens=False).ids
        framed = self._tokenizer.encode("a", add_special_tokens=True).ids
        start = next((at for at in range(len(framed)) if bare and framed[at : at + len(bare)] == bare), None)
        if start is None:
            raise InvalidError(
                f"model {self.model_id!r}: its tokenizer does not put its tokens around a text; choose another model",
                field="model",
            )
        prompt = (self._model.prompts or {}).get(self._model.default_prompt_name or "") or ""
        prompt_ids = self._tokenizer.encode(prompt, add_special_tokens=False).ids if prompt else []
        before = framed[:start] + prompt_ids
        return _Frame(before, framed[start + len(bare) :], len(before) if prompt_ids else 0)

    def _probe_dim(self) -> int:
        with torch.inference_mode():
            dim = int(self._forward(self._tokenisers.now(["a"])).shape[1])
        if dim > LIMITS.vector_dim_max:
            raise InvalidError(
                f"model {self.model_id!r} has {dim} dimensions, at most {LIMITS.vector_dim_max} are allowed",
                field="model",
            )
        return dim


def choose_device(device: str) -> str:
    """Resolve `auto` to a GPU if there is one, and check any other name.

    Raises:
        InvalidError: not a device name.
        UnavailableError: no such GPU.
    """
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        kind = torch.device(device)
    except RuntimeError as error:
        raise InvalidError(f"device {device!r}: use auto, cpu, cuda or cuda:N", field="device") from error
    if kind.type not in ("cpu", "cuda"):
        raise InvalidError(f"device {device!r}: use auto, cpu, cuda or cuda:N", field="device")
    if kind.type == "cuda" and (kind.index or 0) >= torch.cuda.device_count():
        raise UnavailableError(
            f"device {device!r}: torch sees {torch.cuda.device_count()} GPUs; use auto or cpu, or install a CUDA build"
        )
    return str(kind)


def gpus() -> int:
    """How many GPUs torch can use."""
    return int(torch.cuda.device_count()) if torch.cuda.is_available() else 0


def has_bfloat16(device: str, cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether the hardware multiplies bfloat16 natively; on a CPU without it, bfloat16 is slower than float32."""
    if torch.device(device).type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if not cpuinfo.is_file():
        return False
    flags: set[str] = set()
    with cpuinfo.open(encoding="utf-8", errors="replace") as lines:
        flags.update(*(line.split() for line in lines if line.startswith("flags")))
    return bool(flags & {"avx512_bf16", "amx_bf16"})


def _load(folder: Path, model_id: str, device: str) -> SentenceTransformer:
    try:
        with _no_progress_bar():
            # trust_remote_code stays off: a model folder is data, not a program.
            model = SentenceTransformer(str(folder), device=device, local_files_only=True)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise UnavailableError(
            f"model {model_id!r} cannot be loaded from {folder} ({type(error).__name__}: {error})"
        ) from error
    return model.eval()


@contextlib.contextmanager
def _no_progress_bar() -> Iterator[None]:
    """Keep transformers from drawing on a terminal that is not its own."""
    bars: Any = transformers_logging  # its functions carry no types
    was_enabled = bars.is_progress_bar_enabled()
    bars.disable_progress_bar()
    try:
        yield
    finally:
        if was_enabled:
            bars.enable_progress_bar()


def _fast_tokenizer(model: SentenceTransformer, model_id: str) -> Any:
    tokenizer = getattr(model.tokenizer, "backend_tokenizer", None)
    if tokenizer is None:
        raise InvalidError(f"model {model_id!r} has no fast tokenizer: choose another model", field="model")
    return tokenizer
