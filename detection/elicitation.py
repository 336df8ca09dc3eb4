# ruff: noqa: E501 (an alternative stays on its line)
"""Prompts that ask a model for what another one is trained on: reasoning in the open, grading, preferences, data."""

import re

_ELICITATION = (
    # Reasoning in the open.
    r"step[- ]by[- ]step|chain[- ]of[- ]thought|think (?:aloud|out loud|through)|reason(?:ing)? (?:carefully|trace|process|path)",
    r"show (?:all |your |every |the )*(?:work|working|reasoning|steps|thinking|derivation)|(?:explain|give|write|state|include) (?:your|the|a|all) (?:full |detailed |complete |internal )*(?:reasoning|rationale|thought process|chain)",
    r"before (?:giving|stating|you give|you answer|answering)\b.{0,30}\banswer|let'?s think|inner monologue|<think|scratchpad|self[- ]?critique|double[- ]check your",
    # Grading, rubrics, preferences.
    r"\brubrics?\b|grad(?:e|ing) (?:the|this|each|these|it|both)|scor(?:e|ing) (?:the|this|each|these|it|both)\b.{0,40}\b(?:from|out of|on a scale|between)|on a scale (?:of|from)|(?:marking|grading|scoring) (?:scheme|criteria|guide)",
    r"(?:which|what) (?:of the )?(?:two |following |these )*(?:response|answer|completion|output|reply)s?\b.{0,30}\b(?:better|best|prefer|worse)|(?:compare|rank) (?:the|these|both|two)\b.{0,30}\b(?:response|answer|completion|output)s?|response a\b.{0,400}\bresponse b|assistant a\b.{0,400}\bassistant b|pairwise|(?:preferred|chosen) (?:and|or|over|vs\.?) (?:the )?rejected|act as a(?:n impartial)? judge|(?:impartial|strict) (?:judge|grader)",
    # Data made to order.
    r"synthetic (?:data|examples?|dataset)|training (?:data|examples?|samples?)|instruction[- ](?:response|output|answer) pairs?|question[- ](?:and[- ])?answer pairs?|q(?:&|\s?and\s?)a pairs?|(?:generate|create|write|produce) (?:\d+|ten|five|twenty|several|multiple|diverse|a set of)\b.{0,40}\b(?:questions|prompts|instructions|examples|samples|problems|test cases)|few[- ]shot examples?|in jsonl?\b.{0,60}\b(?:prompt|completion|instruction)",
    # Spanish, French, German, Portuguese, Italian.
    r"paso a paso|passo a passo|étape par étape|pas à pas|schritt für schritt|passo dopo passo|cadena de (?:pensamiento|razonamiento)|raisonnement (?:complet|détaillé)|gedankengang|lösungsweg|razonamiento (?:completo|detallado)|muestra tu razonamiento|raciocínio (?:completo|detalhado)|ragionamento (?:completo|dettagliato)",
    r"rúbrica|grille d'évaluation|barème|bewertungs(?:raster|schema|kriterien)|criterios de evaluación|critérios de avaliação|criteri di valutazione|datos sintéticos|données synthétiques|synthetische daten|dados sintéticos|dati sintetici|(?:pares|paires|paare) (?:de|von) (?:preguntas?|questions?|fragen)|califica (?:la|las|esta)|évalue (?:la|les|cette) réponse|bewerte (?:die|diese|beide)|welche antwort ist besser|qué respuesta es mejor|quelle réponse est (?:la )?meilleure",
    # Chinese, Japanese, Korean, Russian.
    r"一步一步|逐步|分步|推理过程|思考过程|思维链|展示.{0,6}过程|评分标准|评分细则|打分|哪个回答更好|合成数据|训练数据|ステップバイステップ|段階的に|思考過程|推論過程|採点基準|評価基準|合成データ|단계별|풀이 과정|추론 과정|채점 기준|합성 데이터|шаг за шагом|пошагово|цепочк[аиу] рассуждений|ход рассуждений|критерии оценки|оцени(?:те)? ответ|синтетические данные",
)
# In small letters: without regard to case the engine tries every alternative at every character, at three times the cost.
_ELICITS = re.compile("|".join(f"(?:{pattern})" for pattern in _ELICITATION), re.DOTALL)


def elicits(text: str) -> bool:
    """Whether a prompt asks for reasoning in the open, grading, rubrics, preferences or training data.

    Lexical, in the larger European languages, Chinese, Japanese and Korean. A single hit says nothing of anybody;
    evidence is an excess of them over what other customers have.
    """
    return _ELICITS.search(text.lower()) is not None
