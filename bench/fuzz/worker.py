"""One target under coverage guidance: `python -m bench.fuzz.worker TARGET FOLDER [options of libFuzzer]`."""

import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["coterie"]):
    from bench.fuzz.targets import TARGETS, seeds, words


def main() -> None:
    """Write the seeds and the dictionary, and fuzz until libFuzzer is told to stop."""
    name, folder, *options = sys.argv[1:]
    corpus = Path(folder) / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds(name)):
        (corpus / f"seed-{number}").write_bytes(seed)
    dictionary = Path(folder) / "dictionary"
    dictionary.write_text("".join(f'"{_escaped(word)}"\n' for word in words(name) if word))
    atheris.Setup([sys.argv[0], f"-dict={dictionary}", *options, str(corpus)], TARGETS[name])
    atheris.Fuzz()


def _escaped(word: str) -> str:
    plain = set(range(33, 127)) - set(b'"\\')
    return "".join(chr(octet) if octet in plain else f"\\x{octet:02x}" for octet in word.encode())


if __name__ == "__main__":
    main()
