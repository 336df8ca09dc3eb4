"""Tokenising on threads of its own, ahead of the model: on a GPU it would otherwise be what everything waits for."""

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

_CHUNK_TEXTS = 256
"""Texts of one piece of work: a text that is urgent waits for no more than that."""

Tokens = list[list[int]]


class Tokenisers:
    """Copies of a fast tokenizer, one for each thread that uses it: it serves one thread at a time.

    Args:
        tokenizer: a `tokenizers.Tokenizer`.
        workers: threads that tokenise ahead.
    """

    def __init__(self, tokenizer: Any, workers: int) -> None:
        self._serialised: str = tokenizer.to_str()
        self._kind = type(tokenizer)
        self._local = threading.local()
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="coterie-tokenise")

    def now(self, texts: Sequence[str]) -> Tokens:
        """The token ids of texts, without special tokens, on the caller's thread."""
        tokenizer = getattr(self._local, "tokenizer", None)
        if tokenizer is None:
            tokenizer = self._local.tokenizer = self._kind.from_str(self._serialised)
            tokenizer.no_truncation()
            tokenizer.no_padding()
        # Lone surrogates cannot be UTF-8: they would make the tokenizer refuse the whole batch.
        clean = [text.encode("utf-8", "replace").decode("utf-8") for text in texts]
        return [encoding.ids for encoding in tokenizer.encode_batch_fast(clean, add_special_tokens=False)]

    def ahead(self, texts: Sequence[str], shelf: int) -> Iterator[Tokens]:
        """The token ids of each `shelf` texts in turn, the next being made while the caller is at one."""
        if len(texts) <= _CHUNK_TEXTS:  # nothing to be ahead of
            if texts:
                yield self.now(texts)
            return
        waiting = self._submit(texts[:shelf])
        for start in range(0, len(texts), shelf):
            ready = [ids for future in waiting for ids in future.result()]
            waiting = self._submit(texts[start + shelf : start + 2 * shelf])
            yield ready

    def _submit(self, texts: Sequence[str]) -> list[Future[Tokens]]:
        return [
            self._pool.submit(self.now, texts[start : start + _CHUNK_TEXTS])
            for start in range(0, len(texts), _CHUNK_TEXTS)
        ]
