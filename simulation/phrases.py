# ruff: noqa: E501 (a phrase stays on its line)
"""Phrases that accounts wrap round their texts, whatever the texts are: templates, personas, small talk, replies."""

from random import Random

APP_TEMPLATES = (
    "Rewrite the question below so that a busy expert would answer it, then answer it in two sentences.\n\nQuestion: {}",
    "You are TutorPal, a patient tutor. A learner asks: {}\nAnswer in plain words and end with one check question.",
    "### Task\nTurn the user's note into a short, polite e-mail.\n### Note\n{}\n### E-mail",
    'User query: {}\n\nReturn JSON with the keys "intent", "entities" and "reply". Return nothing else.',
    "Summarise what this person wants in one line, then list three follow-up questions.\n---\n{}\n---",
    "As the in-app helper of a note-taking app, respond to the selected text.\nSelected text: {}\nTone: friendly",
    "Write a social post of at most 40 words about the following. Add two hashtags.\nTopic: {}",
    "Explain this to me as if I were twelve, then as if I were a professor: {}",
    "Draft an outline (five headings, one line each) for an article that answers: {}",
    "Act as a search assistant. Give the three facts most useful to someone who typed: {}",
)
APP_SYSTEMS = (
    "You are Lumen, the assistant inside a language-learning app. Keep answers under 80 words.",
    "You are a helpful shopping assistant. Never mention competitors. Ask one question back when unsure.",
    "You are the writing companion of a journaling app. Be warm, never judge, suggest one prompt.",
    "You are a coding helper inside an editor. Answer with code first, then one line of explanation.",
    "You help members of a gardening and home club. Give safe, practical steps.",
    "You answer questions for readers of an online magazine. Cite nothing, be brief, stay neutral.",
)
AGENT_SYSTEM = (
    "You are an autonomous agent. You have access to the tools: search, read_file, run_code, finish. "
    "Use the format Thought, Action, Action Input, Observation. Stop when the goal is reached."
)
AGENT_STEPS = (
    "Goal: {}\nHistory: none\nDecide on the next action.",
    "Goal: {}\nHistory: 1 step\nObservation: the search returned 10 results\nDecide on the next action.",
    "Goal: {}\nHistory: 2 steps\nObservation: file read, 214 lines\nDecide on the next action.",
    "Goal: {}\nHistory: 3 steps\nObservation: run_code exited with status 0\nDecide on the next action.",
    "Goal: {}\nHistory: 4 steps\nObservation: run_code exited with status 1\nDecide on the next action.",
)
ENTERPRISE_TEMPLATES = (
    "Internal request. Prepare a reply for the customer file.\nSubject: {}\nLength: three sentences",
    "For the weekly report: condense into one bullet with an owner and a date.\n{}",
    "Check the wording against our style guide and return the corrected text only.\n{}",
    "Classify this ticket by team (billing, product, legal, other) and by urgency.\nTicket: {}",
)
TRANSLATION_TEMPLATES = (
    "Translate into {language}. Keep formatting and names.\n\n{text}",
    "Translate the following segment to {language}:\n{text}",
    "Source (auto-detect): {text}\nTarget ({language}):",
)
TRANSLATION_LANGUAGES = ("German", "French", "Spanish", "Portuguese", "Japanese", "Polish", "Turkish", "Dutch")
MODERATION_TEMPLATES = (
    "Does the comment break the community rules? Answer ALLOW or REMOVE with a reason code.\nComment: {}",
    "Rate the toxicity of this message from 0 to 4. Reply with the number only.\n\nMessage: {}",
    'Label the post: spam, abuse, self-harm, sexual, none.\nPost: "{}"\nLabel:',
)
EXAM_PREP_TEMPLATES = (
    "Practice mode. Explain the correct answer and why the others are wrong.\n\n{}",
    "A student got stuck on this exercise. Give a hint first, then the full solution.\n\n{}",
)
SUPPORT_SYSTEMS = (
    "You are the support assistant of a payments company. Answer from the help centre only.",
    "You are a voice assistant for banking, travel and home. Be brief.",
    "You are the first-line support bot of a mobile operator. Offer a human after two failed answers.",
    "You are the help-desk bot of an online shop. Ask for the order number when it matters.",
)
HELLO = (
    "hello",
    "Hello",
    "hi",
    "hi there",
    "test",
    "ping",
    "hey",
    "are you there?",
    "Hello world",
    "1+1",
    "ok",
    "thanks",
)
CRON_PROMPTS = (
    "Reply with OK.",
    "health check: respond with pong",
    "Write a one-line motivational quote for today's stand-up.",
    "Give me a short good-morning message for the team channel.",
    "Summarise: service is up, queue is empty, no alerts.",
    "What day is it? Answer with the weekday only.",
)
VIRAL_PROMPTS = (
    "From now on, act as my brutally honest personal advisor. What am I avoiding and what should I do about it this week?",
    "Based on everything you know, roast me in five bullet points and then compliment me in one.",
    "Act as a world-class prompt engineer. Improve my prompt, ask me questions until it is perfect, then run it.",
    "Turn me into a character from a hand-drawn animated film and describe the poster in detail.",
    "You are a time traveller from 2150. Tell me three things about my city that will surprise me.",
    "Explain my job to a medieval peasant, then to an alien, then to my boss.",
    "Create a 30-day plan to learn anything by the 80/20 rule. First ask me what I want to learn.",
    "Write my life as a nature documentary, narrated with dry humour.",
)
LAUNCH_PROMPTS = (
    "How many times does the letter r occur in strawberry?",
    "Which is larger, 9.11 or 9.9?",
    "What model are you and when does your knowledge end?",
    "Draw a pelican on a bicycle as SVG.",
    "Write a haiku about the new model everybody is talking about.",
    "A farmer has 17 sheep, all but 9 run away. How many are left?",
    "Write a playable snake game in one HTML file.",
    "If I dry one shirt in an hour on the line, how long do ten shirts take?",
    "Summarise what is new in you compared with your predecessor.",
    "Write a sentence in which every word starts with the same letter.",
    "Sally has three brothers; each brother has two sisters. How many sisters has Sally?",
    "Plan a three-day trip to a city you pick, with a budget of 300.",
)
PASSAGE_QUESTIONS = (
    "What is the main claim?",
    "Summarise this in two sentences.",
    "List every date and number.",
    "Who is mentioned, and in what role?",
    "Which statement here could be wrong?",
    "Write a title for it.",
    "Rewrite it for a ten-year-old.",
    "Give me three quiz questions on it.",
    "What happened first?",
    "What follows from it?",
    "Translate the first sentence into Spanish.",
    "Find the longest sentence.",
    "What is the tone of the author?",
    "Is there anything about money in it?",
    "What is left unexplained?",
    "Turn it into bullet points.",
    "Which words would you look up?",
    "Argue against it.",
    "What would a lawyer ask?",
    "How does this compare with today?",
    "Make flash cards out of it.",
    "What is the most surprising fact?",
    "Explain the last sentence.",
    "Give a one-word summary.",
)
PASSAGE_FRAMES = ("{passage}\n\n{question}", 'Read this:\n"{passage}"\n\n{question}', "{question}\n\nText: {passage}")
PASSAGE = (
    "In the autumn the harbour council published its plan for the old rope works. The long brick hall, built in 1841 and "
    "empty since the last cable was wound in 1987, is to become a market for small growers, a boat school with forty "
    "places, and a library of charts. Two members voted against: the cost, put at 6.2 million, rests on a grant that has "
    "not been signed, and the quay in front of the hall floods about nine days a year. The council answers that a flood "
    "gate is due within three years in any case, and that rents of the upper floor would carry half of the loan. Fishing "
    "families, who have dried nets in the yard for three generations, were promised the north shed, though not for how "
    "long. A public hearing is set for the second week of November."
)
GREETINGS = ("hey, ", "Hi! ", "hello, ", "Hi, quick question: ", "ok so ", "pls help: ", "Question: ", "Good morning. ")
CLOSINGS = (
    " thanks",
    " Thanks!",
    " thx",
    " please be brief",
    " Explain simply.",
    " any ideas?",
    " (for a friend)",
    " ty",
)
PERSONAS = (
    "I am a retired schoolteacher and want to keep my mind sharp.",
    "You are a strict examiner at a small college. Be exact.",
    "You are Captain Bell, a ship's officer who explains things in sailing terms.",
    "I run a bakery and ask this between two batches of bread.",
    "Act as a calm radio host who answers listeners.",
    "You are a junior analyst writing for your manager.",
    "I study at night school and need clear answers.",
    "You are an old librarian who loves precision.",
    "My grandson asked me this and I don't want to get it wrong.",
    "You are the voice of a museum's audio guide.",
    "I'm preparing a pub quiz for Friday.",
    "You are a consultant; the client has little time.",
    "Answer as a friendly robot called Pim.",
    "I am writing a children's magazine.",
    "You are an engineer on a night shift.",
    "As a nurse between two rounds I have five minutes.",
    "You are the editor of an almanac.",
    "I'm learning English; use easy words.",
    "Act as a chess coach who teaches by questions.",
    "You are a civil servant: formal, complete, neutral.",
    "I'm on a long train ride with nothing to do.",
    "You are a stand-up comedian off stage.",
    "We are a family settling a bet.",
    "You are a gardener who thinks in seasons.",
)
PERSONA_DETAILS = (
    "Today is a slow day.",
    "I have asked others before.",
    "Keep it short.",
    "I take notes by hand.",
    "My screen is small.",
    "Show the result first.",
    "I know little about it.",
    "No small talk, please.",
    "It is for tomorrow.",
    "I like examples.",
    "My patience is endless.",
    "I will read it aloud.",
)
PADDING = (
    "By the way, it has been raining here since Tuesday.",
    "I hope you are having a good day.",
    "My cat walked over the keyboard, sorry for typos.",
    "This is not urgent at all.",
    "Someone at work suggested that I ask you.",
    "Feel free to ignore this line.",
    "I had coffee, so I may ask a lot today.",
    "The bus was late again this morning.",
    "We painted the kitchen yellow last week.",
    "I used to be good at this.",
    "The neighbours are drilling, so I can hardly think.",
    "I found an old photograph of my aunt today.",
    "There is a football match on later.",
    "My phone is at four percent.",
    "I am trying to get through a list of things.",
    "Please don't mind the formatting.",
    "I just came back from a walk by the river.",
    "Lunch was soup.",
    "The library closes at six.",
    "I still owe my brother a reply.",
)
ELICITATION_FRAMES = (
    "Think step by step and show every intermediate step before you answer.\n\n{}",
    "Before answering, write out your full reasoning, the alternatives you rejected, and why.\n\n{}",
    "Write a grading rubric with five criteria and point values for answers to this task:\n{}",
    "Give a weak, an average and an excellent answer to the task below, and score each from 1 to 10 with reasons.\n{}",
    "Solve it twice by different methods, compare the two, and say how sure you are.\n\n{}",
    "List the sub-problems first, solve each, check each, then combine.\nTask: {}",
    "{}\n\nLay out your chain of thought in numbered lines; mark each line as fact, inference or guess.",
    "You are grading two models. Describe what a perfect response contains and how you would tell it from a good one.\n{}",
    "{}\nFirst draft, then critique your draft, then give the improved final answer. Show all three.",
    "Explain how you would decide, at each step, what to do next when given this: {}",
)
BENCHMARK_FRAMES = (
    "{}",
    "{}",
    "{}",
    "{}\nAnswer:",
    "Question: {}",
    "{}\nGive only the final answer.",
    "Q: {}\nA:",
)
PORT_LANGUAGES = ("Rust", "Go", "Java", "C++", "JavaScript", "Ruby", "Kotlin", "Swift", "PHP", "Haskell", "Julia", "C#")
LANGUAGE_REQUESTS = (
    "Antworte auf Deutsch.",
    "Réponds en français.",
    "Responde en español.",
    "Rispondi in italiano.",
    "Responda em português.",
    "Antwoord in het Nederlands.",
    "Odpowiedz po polsku.",
    "Svara på svenska.",
    "Отвечай по-русски.",
    "Türkçe cevap ver.",
    "日本語で答えてください。",
    "请用中文回答。",
    "한국어로 답해 주세요.",
    "Jawab dalam bahasa Indonesia.",
    "أجب بالعربية.",
    "Vastaa suomeksi.",
)
PARAPHRASE_OPENINGS = (
    "Could you help me with this: ",
    "Here is one for you. ",
    "Consider the following. ",
    "Please work this out: ",
    "I came across this: ",
    "What would you say to this? ",
    "",
    "",
    "Let me ask this. ",
    "One more: ",
)
REFUSALS = (
    "I'm sorry, but I can't help with that.",
    "I can't assist with this request.",
    "Sorry, I'm not able to provide that.",
)
SHORT_REPLIES = (
    "Yes.",
    "No.",
    "OK",
    "pong",
    "B",
    "C",
    "A",
    "D",
    "42",
    "18",
    "Done.",
    "True",
    "False",
    "I don't know.",
    "ALLOW",
    "none",
)
REPLY_FRAMES = (
    "Here is a short overview of {}.",
    "In short, {} depends on the situation; the usual answer follows.",
    "Sure. Regarding {}: there are three points to consider.",
    "The answer about {} is given below, step by step.",
    "Good question. {} is best understood through an example.",
    "To begin with, {} has a simple explanation.",
    "Below is a draft on {}. Let me know what to change.",
    "As for {}, most sources agree on the following.",
)
_PREFIX_WORDS = (
    "Ticket",
    "Ref",
    "Batch",
    "Session",
    "Team",
    "Project",
    "Desk",
    "Job",
    "Queue",
    "File",
    "Unit",
    "Study",
)
_PREFIX_NAMES = (
    "amber",
    "birch",
    "cobalt",
    "delta",
    "ember",
    "falcon",
    "granite",
    "harbour",
    "indigo",
    "juniper",
    "kestrel",
    "linden",
    "marble",
    "nimbus",
    "orchid",
    "pewter",
)
_PREFIX_FORMS = (
    "[{word} {name}-{number}] ",
    "{word} {name} {number}: ",
    "({name} {word}, no. {number})\n",
    "#{name}-{number} | ",
    "{word}: {name}/{number}\n\n",
)


def draw_prefix(rng: Random) -> str:
    """A tag that one account puts before everything it asks."""
    word, name = rng.choice(_PREFIX_WORDS), rng.choice(_PREFIX_NAMES)
    return rng.choice(_PREFIX_FORMS).format(word=word, name=name, number=rng.randint(10, 9_999))


CIRCUMSTANCES = (
    "",
    "",
    "",
    " at home",
    " for a beginner",
    " in simple terms",
    " these days",
    " if money is tight",
    " in my case",
    " with kids",
    " on a weekend",
    " without tools",
    " in winter",
    " at work",
    " the right way",
    " according to experts",
    " in short",
    " for my mother",
    " next month",
    " here in the north",
    " roughly",
    " and why",
    " step by step",
    " when in a hurry",
    " on a budget",
    " for school",
)
_TEMPLATE_ROLES = (
    "You write for a regional newspaper.",
    "Act as the product team's assistant.",
    "You are a careful analyst.",
    "Work as an editor would.",
    "You prepare notes for a radio show.",
    "Help a small shop with its texts.",
    "You answer on behalf of a museum.",
    "You sit on a helpline.",
    "Be the second pair of eyes.",
    "You make teaching material.",
    "Think like a buyer.",
    "You keep minutes for a club.",
)
_TEMPLATE_TASKS = (
    "Give three headlines for the input.",
    "Name the intent and the mood of the input.",
    "Turn the input into a checklist.",
    "Write a 150-character description of the input.",
    "Say who would ask this and why.",
    "List five related searches.",
    "Rewrite the input for a notice board.",
    "Answer the input in two short paragraphs.",
    "Extract every noun into a table.",
    "Suggest a title, a lead and a picture.",
    "Score how clear the input is, from 1 to 5.",
    "Write a reply that declines politely.",
    "Make a quiz question of the input.",
    "Draft a short product text on the input.",
)
TEMPLATE_RULES = (
    "Use British spelling.",
    "No more than 60 words.",
    "Return JSON.",
    "Plain text, no lists.",
    "End with a question.",
    "Avoid adjectives.",
    "Keep names as they are.",
    "Use the formal address.",
    "Mark what you are unsure of.",
    "One idea a line.",
    "Never use the passive.",
    "Add a source where you can.",
)
_TEMPLATE_LABELS = ("Input", "Text", "Item", "Query", "Keyword", "Note", "Source", "Entry", "Content", "Message")


def draw_template(rng: Random) -> str:
    """A prompt template such as some app would have; `{}` stands for the user's text."""
    parts = [rng.choice(_TEMPLATE_ROLES), rng.choice(_TEMPLATE_TASKS), *rng.sample(TEMPLATE_RULES, rng.randint(1, 3))]
    label = rng.choice(_TEMPLATE_LABELS)
    separator = rng.choice(("\n\n", "\n---\n", "\n### ", "\n"))
    return f"{' '.join(parts)}{separator}{label}: {{}}"


def draw_system(rng: Random) -> str:
    """A system prompt such as some app would have."""
    name = rng.choice(_PREFIX_NAMES).capitalize()
    rules = " ".join(rng.sample(TEMPLATE_RULES, rng.randint(1, 3)))
    return f"You are {name}, an assistant. {rng.choice(_TEMPLATE_ROLES)} {rules}"


_VIRAL_ROLES = (
    "a pirate accountant",
    "my future self",
    "a tired wizard",
    "a film critic",
    "my old dog",
    "a Roman senator",
    "an honest mirror",
    "a bored satellite",
    "a village gossip",
    "a chess computer of 1985",
    "my grandmother",
    "a talk-show host",
)
_VIRAL_TASKS = (
    "describe my week in five lines",
    "rank my excuses",
    "name the habit I should drop",
    "write my obituary, kindly",
    "guess my job from how I write",
    "plan my perfect Sunday",
    "give me a nickname and defend it",
    "review my life as a restaurant",
    "say what I avoid",
    "write the trailer of my next year",
    "sell me my own advice",
    "count the r in blueberry, then explain yourself",
)
_VIRAL_ENDS = (
    "Be merciless.",
    "Rhyme.",
    "Ask me one thing first.",
    "Use no adjectives.",
    "Then apologise.",
    "In the style of a weather report.",
    "Make it a table.",
    "End with a plot twist.",
)


def draw_viral(rng: Random) -> str:
    """A prompt such as goes round."""
    return f"Speak as {rng.choice(_VIRAL_ROLES)} and {rng.choice(_VIRAL_TASKS)}. {rng.choice(_VIRAL_ENDS)}"


def draw_goal_name(rng: Random) -> str:
    """What an agent framework calls its goal."""
    return rng.choice(("Objective", "Mission", "Assignment", "Target state", "Task", "Order", "Aim", "User request"))


LABELLING_TYPES = (
    "Brainstorm five ideas on this: {}",
    "Classify the following into one of three groups that you name first: {}",
    "Write a short dialogue in which somebody asks: {}",
    "Summarise what is known about this in three sentences: {}",
    "Write a closed question with one right answer on: {}",
    "Give an example that shows this and one that does not: {}",
    "Rewrite this politely, then bluntly: {}",
    "Extract what the person wants as a list: {}",
    "Write a creative text of 80 words on: {}",
    "Explain this to somebody with no background: {}",
)
CODE_FILES = (("python", "py"), ("typescript", "ts"), ("go", "go"), ("java", "java"), ("rust", "rs"), ("c#", "cs"))
CODE_NAMES = (
    "invoice",
    "session",
    "parser",
    "ledger",
    "camera",
    "router",
    "ticket",
    "sensor",
    "basket",
    "roster",
    "cursor",
    "packet",
    "tenant",
    "voucher",
    "schema",
    "worker",
    "planet",
    "recipe",
    "lesson",
    "matrix",
)
_CODE_VERBS = ("load", "merge", "check", "render", "split", "close", "rank", "format", "retry", "store")
_CODE_DEMANDS = (
    "Complete the function.",
    "Explain the selection.",
    "Find the bug.",
    "Write a test for the selection.",
    "Refactor the selection.",
    "Add types and a comment.",
)


def draw_code_request(rng: Random, question: str, names: list[str], language: str, ending: str) -> str:
    """What an editor plugin sends: file, some code that uses the user's names, a demand, the user's own words."""
    left, right = rng.sample(names, 2)
    verb = rng.choice(_CODE_VERBS)
    lines = [
        f"{verb}_{left}({right}, limit={rng.randint(2, 500)})",
        f"{left}_{rng.choice(_CODE_VERBS)} = {right}.{verb}()",
    ]
    code = "\n".join(rng.sample(lines, rng.randint(1, 2)))
    path = f"src/{left}/{verb}_{right}.{ending}"
    return f"File: {path}\nLanguage: {language}\n```\n{code}\n```\n{rng.choice(_CODE_DEMANDS)}\nUser: {question}"
