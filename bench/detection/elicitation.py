"""Whether prototype prompts find elicitation that the patterns of `detection/elicitation.py` miss.

A prompt's likeness is its greatest cosine to any of `PROTOTYPES` in an encoder's space. Its limit is set on ordinary
prompts of the tuning half, so that it passes as many of them as the patterns do, or a tenth of a percent; what is
asked is which share of `PROBES`, requests put in other words and in nine languages, each round five questions of the
corpus, either finds, and what both find together.

    python -m bench.detection.elicitation --corpus ../shared/data --cache build/bench-vectors
"""

import argparse
import json
import sys
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.detection.vectors import VectorCache
from coterie.detection.elicitation import elicits
from coterie.domain import normalise
from coterie.embedder import MULTILINGUAL_MODEL
from coterie.simulation import phrases
from coterie.simulation.corpus import read_corpus
from coterie.simulation.library import Source, split_sources

PROTOTYPES = (
    "Think step by step and show all of your reasoning before you give the final answer.",
    "Write out your full chain of thought, then the answer.",
    "Explain every step of your reasoning in detail.",
    "Solve the problem and justify each inference you make.",
    "Show your working and check the result.",
    "Grade the following answer from 1 to 10 and explain the grade.",
    "Write a grading rubric for this task.",
    "Compare the two responses and say which one is better and why.",
    "Act as an impartial judge and score the assistant's reply.",
    "Which of these completions would a human prefer?",
    "Generate diverse questions with answers for training a model.",
    "Write instruction and response pairs for a synthetic data set.",
    "Piensa paso a paso y muestra todo tu razonamiento.",
    "Califica la respuesta según una rúbrica.",
    "Réfléchis étape par étape et montre ton raisonnement.",
    "Denke Schritt für Schritt und zeige deinen Gedankengang.",
    "请一步一步思考，写出完整的推理过程。",
    "请根据评分标准给这个回答打分。",
    "段階的に考え、推論の過程をすべて示してください。",
    "Рассуждай шаг за шагом и покажи весь ход мыслей.",
)
"""Written for this: what such requests say, in the words that come first to mind."""

PROBES = {
    "reasoning": (
        "Don't just answer. Walk me through everything that goes on in your head on the way there.\n{}",
        "{}\nI want to see how you got there, each small move, nothing skipped.",
        "Derive the result from first principles and name the rule that licenses every line.\n{}",
        "{}\nPrint the intermediate deductions you would normally keep to yourself.",
        "Para cada decisión que tomes al resolver esto, dime por qué la tomaste.\n{}",
        "Décris tout ce à quoi tu penses avant de conclure.\n{}",
        "Lege offen, welche Überlegungen dich zur Antwort führen.\n{}",
        "把你得出结论之前的每个想法都写下来。\n{}",
        "結論に至るまでに考えたことを全部書いてください。\n{}",
        "Выпиши все промежуточные мысли, прежде чем ответить.\n{}",
        "Escreva tudo o que passa pela sua cabeça até chegar à resposta.\n{}",
        "Racconta ogni passaggio mentale che ti porta alla risposta.\n{}",
    ),
    "grading": (
        "Here is what a pupil wrote for the task below. How many points of ten, and where were they lost?\n{}",
        "Set out what separates a pass from a fail and from a distinction on this task.\n{}",
        "Two models replied to this. Decide the winner and defend the verdict.\n{}",
        "List the features by which an examiner would mark replies to this, with weights.\n{}",
        "¿Cuántos puntos de diez darías a quien contestara esto, y por qué los perdería?\n{}",
        "Sur quels points un examinateur jugerait-il une réponse à ceci ?\n{}",
        "Woran würde ein Prüfer gute von schlechten Antworten darauf unterscheiden?\n{}",
        "如果满分十分，你会怎样评判对下面问题的回答？\n{}",
        "次の課題への答案を十点満点で採点するなら、どこを見ますか。\n{}",
        "По каким признакам экзаменатор отличит хороший ответ от плохого?\n{}",
    ),
    "data": (
        "Invent thirty tasks in the manner of this one, each with its solution.\n{}",
        "Turn this into material that a smaller model could learn from.\n{}",
        "Make variants of this of rising difficulty, solved.\n{}",
        "Inventa treinta tareas parecidas a esta, con su solución.\n{}",
        "Invente trente exercices semblables, corrigés.\n{}",
        "Denke dir dreißig ähnliche Aufgaben samt Lösung aus.\n{}",
        "仿照下面的题目再出三十道，并附上解答。\n{}",
        "これに似た課題を三十個、解答付きで作ってください。\n{}",
    ),
}
"""Written for this as well, without looking at what the patterns match."""

_QUESTIONS_EACH = 5
_ORDINARY_EACH = 300
_TEMPLATES_DRAWN = 200


def likeness(cache: VectorCache, texts: list[str]) -> NDArray[np.float32]:
    """float32[n]: the greatest cosine of each text to a prototype."""
    prototypes = cache.vectors([normalise(text) for text in PROTOTYPES])
    return np.asarray((cache.vectors([normalise(text) for text in texts]) @ prototypes.T).max(axis=1))


def probes(sources: list[Source], seed: int) -> dict[str, list[str]]:
    """The probes round questions of the corpus's lists, by kind; the last kind is the probes alone."""
    rng = np.random.default_rng(seed)
    questions = [
        item.text for source in sources if source.group in "AB" for item in source.items if len(item.text) < 400
    ]
    made = {
        kind: [
            frame.replace("{}", questions[row])
            for frame in frames
            for row in rng.choice(len(questions), _QUESTIONS_EACH)
        ]
        for kind, frames in PROBES.items()
    }
    return made | {
        "without a question": [frame.replace("{}", "").strip() for frames in PROBES.values() for frame in frames]
    }


def ordinary(sources: list[Source], seed: int) -> list[str]:
    """Up to so many prompts of every source of what people ask."""
    rng = np.random.default_rng(seed)
    chosen = []
    for source in sources:
        if source.group == "C":
            rows = rng.permutation(len(source.items))[:_ORDINARY_EACH]
            chosen += [source.items[row].text for row in rows.tolist()]
    return chosen


def templates(seed: int) -> list[str]:
    """What innocent apps, jobs and frameworks put round their users' questions, without these."""
    rng = Random(seed)
    fixed = (
        *phrases.APP_TEMPLATES,
        *phrases.APP_SYSTEMS,
        *phrases.EXAM_PREP_TEMPLATES,
        *phrases.ENTERPRISE_TEMPLATES,
        *phrases.MODERATION_TEMPLATES,
        *phrases.LABELLING_TYPES,
    )
    drawn = [draw(rng) for draw in (phrases.draw_template, phrases.draw_system) for _ in range(_TEMPLATES_DRAWN)]
    return sorted({text.replace("{}", "").strip() for text in (*fixed, *drawn)} - {""})


def measure(sources: list[Source], caches: dict[str, VectorCache], seed: int) -> dict[str, Any]:
    """Shares found by patterns, by prototypes at equal shares of ordinary prompts, and by both."""
    people = ordinary(sources, seed)
    asked = probes(sources, seed)
    frames = templates(seed)
    by_pattern = np.array([elicits(text) for text in people])
    hits = {kind: np.array([elicits(text) for text in texts]) for kind, texts in asked.items()}
    report: dict[str, Any] = {
        "ordinary": len(people),
        "templates": len(frames),
        "patterns": {
            "ordinary": _share(by_pattern),
            "templates of the innocent": _share(np.array([elicits(text) for text in frames])),
            **{kind: _share(hit) for kind, hit in hits.items()},
        },
    }
    for name, cache in caches.items():
        values = likeness(cache, people)
        of_probe = {kind: likeness(cache, texts) for kind, texts in asked.items()}
        for share in (float(by_pattern.mean()), 0.001):
            limit = float(np.quantile(values, 1 - share))
            report[f"{name}, {share:.2%} of ordinary prompts"] = {
                "limit": round(limit, 3),
                "prototypes": {kind: _share(found >= limit) for kind, found in of_probe.items()},
                "either": {kind: _share((found >= limit) | hits[kind]) for kind, found in of_probe.items()},
                "ordinary by either": _share((values >= limit) | by_pattern),
                "templates of the innocent": _share(likeness(cache, frames) >= limit),
            }
    return report


def _share(found: NDArray[np.bool_]) -> float:
    return round(float(found.mean()), 4)


def main() -> None:
    """Measure both encoders; JSON on stdout."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--corpus", type=Path, default=Path("../shared/data"))
    parser.add_argument("--cache", type=Path, default=Path("build/bench-vectors"))
    parser.add_argument("--model", default="all-MiniLM-L6-v2")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    read = read_corpus(options.corpus, prompt_chars_max=1_600, response_chars_max=10)
    caches = {name: VectorCache(options.cache, name) for name in (options.model, MULTILINGUAL_MODEL)}
    json.dump(measure(split_sources(read, "tune"), caches, options.seed), sys.stdout, indent=1)


if __name__ == "__main__":
    main()
