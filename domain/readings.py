"""How to read each piece of evidence: the question it answers, and what innocent traffic does to it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Reading:
    """How one kind of evidence is read.

    Attributes:
        question: what it answers.
        advice: what its value means, and who else gives such a value.
    """

    question: str
    advice: str


READINGS = {
    "exchangeability": Reading(
        "Does it matter who asked?",
        "C/W near 1 with a high lower limit says no: anybody's questions are as close to anybody else's as to their "
        "own. The p-value is that of the content, this and neighbour mixing together.",
    ),
    "neighbour_mixing": Reading(
        "Does it matter close up?",
        "Near 1 the nearest question is anybody's. People follow trains of thought and reach 1.3 and more.",
    ),
    "share_spread": Reading(
        "Was the work dealt evenly?",
        "A spread well below 0.45 says so. It decides together with the content.",
    ),
    "label_permutation": Reading(
        "What if the names were shuffled?",
        "Near 0 shuffling changes nothing. The larger, the more it matters who asked.",
    ),
    "excess_links": Reading(
        "Do they sit closer than their volume explains?",
        "Neighbours in each other's traffic, observed over expected. Customers of one template do it too.",
    ),
    "partition": Reading(
        "Do they repeat each other?",
        "People who share subjects meet now and then. Those who share out a list do not.",
    ),
    "harvest": Reading(
        "What was taken?",
        "It sets the severity: 150, 500 and 2,000 distinct prompts. It says nothing about guilt.",
    ),
    "benchmark_coverage": Reading(
        "Is it a registered benchmark?",
        "How much of one was asked. Labs that evaluate openly do it too; it does not decide.",
    ),
    "benchmark_dealt": Reading(
        "Was the benchmark dealt out?",
        "Each item once, whoever asked it. It does not decide.",
    ),
    "benchmark_order": Reading(
        "Were its items asked in its own order?",
        "A script that walks through a file does this. It does not decide.",
    ),
    "equal_shares": Reading(
        "Did each account get as much as the others?",
        "Compared with other accounts at random. A course with one exercise sheet does it too.",
    ),
    "equal_spans": Reading(
        "Did they begin and end together?",
        "Compared with other customers at random. A deadline does it too.",
    ),
    "synchrony": Reading(
        "Are they active together, beyond their daily rhythms?",
        "Within minutes, an hour or a day. Homework, news and releases do it too.",
    ),
    "batch_rhythm": Reading("Is it spaced like a machine?", "Batch jobs of honest customers are, too."),
    "own_rhythm": Reading(
        "Is it spaced unlike their other requests?",
        "The same account works by hand elsewhere and by machine here. Batch jobs do it too.",
    ),
    "equal_rhythm": Reading(
        "Do all keep one rhythm?", "One program behind many accounts does. So does one popular tool."
    ),
    "relay": Reading(
        "Does one account begin when another ends?", "Accounts that were used up overlap less than chance gives."
    ),
    "volume_past": Reading(
        "Is it more than their own past?", "The medians are in the sentence. A new project does it too."
    ),
    "volume_peers": Reading("Is it more than others send?", "Heavy users do it too."),
    "spend_peers": Reading("Do they spend more than others?", "Heavy users do it too."),
    "answer_peers": Reading("Do they take longer answers than others?", "Writers of long texts do it too."),
    "format_uniformity": Reading(
        "Is there one way of writing?",
        "Boilerplate is left out, and they are compared with those who write most like them. One question bank or one "
        "language does it too.",
    ),
    "subject_stretches": Reading(
        "Has each account a subject of its own, and all one format?",
        "A list dealt out in order looks so. Customers of one support bot do, too.",
    ),
    "capability_sweep": Reading(
        "Does an account sweep more subjects than others do?", "The general public does it too."
    ),
    "elicitation": Reading(
        "Do they ask for worked reasoning, grading, preferences, training data?",
        "What is worth training on. An exam-prep app's template does it too.",
    ),
    "item_form": Reading(
        "Are they built like test items?",
        "Options, a gap, a program to specification, a sum in words. Learners with an exam bank do it too.",
    ),
    "pace": Reading(
        "Does one item follow another as from a script?", "Evaluators do so openly. It says nothing of coordination."
    ),
    "asked_once": Reading(
        "Are the items hardly asked twice?",
        "Learners with one bank repeat a sixth and more. Whether accounts act together is tested apart.",
    ),
    "shared_attributes": Reading(
        "Do they share a payment, a network, a client?",
        "More than chance gives. A large network gives nothing.",
    ),
    "model_pivot": Reading(
        "Did they turn to a model together?",
        "Within 12 hours of its release, or of each other. Early adopters do it too.",
    ),
    "organisation": Reading(
        "Do they belong to organisations?", "The seats of an organisation count as one customer, never as a campaign."
    ),
    "one_payer": Reading("Does one card pay for many?", "A reseller or an agency does that openly."),
    "repeats": Reading(
        "Do several of them ask the same?",
        "A crowd repeats itself; slices of one list do not. It speaks for innocence.",
    ),
    "known_elsewhere": Reading(
        "Do others ask this, too?", "What everybody asks is no secret list. It speaks for innocence."
    ),
    "follow_ups": Reading(
        "Do they go on with the conversation?", "People do; work lists are asked one by one. It speaks for innocence."
    ),
    "own_manner": Reading(
        "Has each account a manner of its own?",
        "One list has one manner. Much variance between accounts speaks for people.",
    ),
    "template": Reading(
        "Is most of it boilerplate?", "Customers of one app send its template and look alike through it."
    ),
    "keeps_hours": Reading(
        "Do they keep hours?", "The same from day to day, as people do. Work that never sleeps lies near 0."
    ),
    "history": Reading(
        "Were they customers before?", "Accounts made for the work have no past. A past speaks for innocence."
    ),
    "other_traffic": Reading(
        "What else do they do?", "Traffic of their own outside of the pool speaks for a customer behind the account."
    ),
    "few_accounts": Reading("Are there enough of them to tell?", "Few customers can be alike by accident."),
    "slice": Reading(
        "Was only a part looked at?", "The tests were set on the prompts of whole traffic; a slice is read with care."
    ),
}
"""By the name of the evidence."""

_UNKNOWN = Reading("What was found?", "The sentence, the value and the null model say what was measured.")


def reading_of(name: str) -> Reading:
    """How to read evidence of that name."""
    return READINGS.get(name, _UNKNOWN)
