"""A prompt is recognised as an item however it is hidden, and a question of the same subject is not."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coterie.detection import METHODS, match_items
from coterie.detection.benchmarks import judge_pair, margins
from coterie.detection.traits import find_traits, may_hold, share_held

ITEM = (
    "A baker fills 14 trays with 23 rolls each in the morning and sells 250 rolls before noon. "
    "In the afternoon she bakes another 75 rolls for the inn. How many rolls are left in the evening?"
)
QUIZ = (
    "Which metal is liquid at room temperature and was long used in thermometers?"
    + "\nA. Lead\nB. Mercury\nC. Tin\nD. Copper"
)
TASK = '''def longest_plateau(heights: List[int]) -> int:
    """ Return the length of the longest plateau: a run of equal heights.
    >>> longest_plateau([3, 3, 7, 7, 7, 1])
    3
    """'''


def judged(text, item, cosine, *, margin=0.1, same_language=True):
    return judge_pair(find_traits(text), find_traits(item), cosine, margin, lambda: same_language)[0]


@pytest.mark.parametrize(
    "text",
    [
        ITEM,
        ITEM.upper(),
        f"You are a patient tutor.\n\n### Question\n{ITEM}\n\nThink step by step and end with the number.",
        "The committee met on Tuesday and spoke of many things. " * 60 + ITEM + " Thank you very much." * 40,
    ],
)
def test_the_item_wrapped_in_anything_is_verbatim(text):
    assert judged(text, ITEM, 0.3) == "verbatim"


def test_turned_options_are_the_same_item():
    turned = (
        "Which metal is liquid at room temperature and was long used in thermometers?\n(A) Copper\n(B) Tin\n(C) Lead"
        "\n(D) Mercury"
    )
    assert judged(turned, QUIZ, 0.9) == "verbatim"


def test_changed_numbers_are_told():
    changed = ITEM.replace("14", "17").replace("23", "31").replace("250", "311").replace("75", "64")
    assert judged(changed, ITEM, 0.95) == "altered"


def test_a_form_that_anybody_fills_in_is_not_an_altered_item():
    assert judged("Convert 15 miles to kilometres.", "Convert 90 miles to kilometres.", 0.9) == ""


def test_other_words_with_the_same_facts_are_a_rephrasing():
    text = (
        "In the morning, 14 trays of 23 rolls are filled by a baker, of which 250 rolls are gone by noon; after lunch "
        "75 more are baked for the inn. What number of rolls remains when evening comes?"
    )
    assert judged(text, ITEM, 0.88) == "rephrased"


def test_a_question_of_the_same_subject_is_none():
    text = "A baker sells 40 loaves on Monday and twice as many on Tuesday. How many loaves does she sell in two days?"
    assert judged(text, ITEM, 0.72) == ""


def test_questions_without_numbers_do_not_agree_in_them():
    assert judged("what is the population size of south africa", "What is the population of the country?", 0.69) == ""
    assert judged("How do I bake a potato?", "How do I bake a salmon in the oven of a stove?", 0.69) == ""


def test_a_translation_without_numbers_stands_out_among_its_neighbours():
    question = "Welches Metall ist bei Zimmertemperatur flüssig?"
    item = "Which metal is liquid at room temperature?"
    assert judged(question, item, 0.66, margin=0.2, same_language=False) == "translated"
    assert judged(question, item, 0.66, margin=0.05, same_language=False) == ""
    assert judged("hallo", item, 0.55, margin=0.15, same_language=False) == ""  # the most among few items


def test_margins_are_over_the_others_and_count_an_item_of_two_benchmarks_once():
    text = np.array([0, 0, 0, 0, 1, 2, 2], np.int32)
    similarity = np.array([0.9, 0.6, 0.5, 0.9, 0.7, 0.8, 0.1], np.float32)
    expected = [0.35, 0.6 - 0.7, 0.5 - 0.75, 0.35, 0.3, 0.4, 0.1 - 0.8]
    assert margins(text, similarity) == pytest.approx(expected, abs=1e-6)


def test_a_translation_needs_nearness_and_numbers():
    text = (
        "Ein Bäcker füllt morgens 14 Bleche mit je 23 Brötchen und verkauft vor Mittag 250 Brötchen. Nachmittags backt "
        "er weitere 75 für das Gasthaus. Wie viele Brötchen sind abends übrig?"
    )
    assert judged(text, ITEM, 0.8, same_language=False) == "translated"
    other = "Ein Bäcker verkauft am Montag 40 Brote und am Dienstag doppelt so viele. Wie viele Brote verkauft er?"
    assert judged(other, ITEM, 0.6, same_language=False) == ""


def test_a_program_in_another_language_is_a_port():
    port = """```c
    /* Length of the longest plateau, a run of equal heights.
       longestPlateau({3, 3, 7, 7, 7, 1}) gives 3 */
    int longestPlateau(int heights[], int size) {
        int longest = 0;
        for (int i = 0; i < size; i++) { /* ... */ }
        return longest;
    }
    ```"""
    assert judged(port, TASK, 0.75) == "ported"
    other = """```c
    /* Reverse the words of a sentence. reverseWords("one two") gives "two one" */
    char *reverseWords(char *sentence) {
        return swap(sentence, strlen(sentence));
    }
    ```"""
    assert judged(other, TASK, 0.62) == ""


def test_pairs_come_by_text_and_best_first():
    texts, items = [f"Please: {ITEM}", "hello there"], [ITEM.replace("14", "15"), ITEM, QUIZ]
    pairs = match_items(
        texts,
        items,
        np.array([0, 0, 0, 1], np.int32),
        np.array([0, 1, 2, 2], np.int32),
        np.array([0.97, 0.98, 0.1, 0.2], np.float32),
    )
    assert [(pair.text, pair.item, pair.method) for pair in pairs] == [(0, 1, "verbatim"), (0, 0, "altered")]
    assert METHODS.index("verbatim") < METHODS.index("altered")


def test_no_pairs_give_none():
    nothing = np.zeros(0, np.int32)
    assert match_items([], [], nothing, nothing, np.zeros(0, np.float32)) == []


@given(st.text("abc1", max_size=60), st.text("abc1", max_size=60), st.sampled_from([0.5, 0.8, 1.0]))
def test_a_share_that_is_held_is_never_ruled_out(held, signs, share_min):
    text, item = find_traits(held), find_traits(signs)
    if share_held(text.shingles, item.shingles) >= share_min:
        assert may_hold(text.shingles, item.signs, share_min)


def test_a_text_with_other_words_is_ruled_out():
    assert not may_hold(find_traits(QUIZ).shingles, find_traits(ITEM).signs, 0.5)
    assert may_hold(find_traits(ITEM + QUIZ).shingles, find_traits(ITEM).signs, 0.9)
