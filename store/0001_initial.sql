-- Ids come from `counter`, inside the transaction that uses them: they grow and are never given twice, not
-- even after an erasure, so that an index snapshot can be caught up by replay.
CREATE TABLE counter (
    name TEXT NOT NULL PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE setting (
    name TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- A distinct normalised text, in its first spelling.
-- uses: 1 prompt + 2 response + 4 system prompt + 8 benchmark item.
-- queue: 0 next to embed (prompts, items), 1 after those (responses), NULL once embedded, or never to be.
CREATE TABLE text (
    text_id INTEGER NOT NULL PRIMARY KEY,
    digest BLOB NOT NULL UNIQUE,
    uses INTEGER NOT NULL,
    queue INTEGER,
    content TEXT NOT NULL
) STRICT;
CREATE INDEX text_queue ON text (queue, text_id) WHERE queue IS NOT NULL;

-- vector: float16[dim], little-endian. prompt_seq, response_seq: when the text became searchable in that
-- field, which is after the first embedding where a response is later asked as a prompt.
CREATE TABLE vector (
    text_id INTEGER NOT NULL PRIMARY KEY,
    prompt_seq INTEGER,
    response_seq INTEGER,
    vector BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX vector_prompt ON vector (prompt_seq) WHERE prompt_seq IS NOT NULL;
CREATE UNIQUE INDEX vector_response ON vector (response_seq) WHERE response_seq IS NOT NULL;

-- A cache: vectors of derived texts, which no exchange refers to.
CREATE TABLE view_vector (
    view_id INTEGER NOT NULL PRIMARY KEY,
    model_id TEXT NOT NULL,
    digest BLOB NOT NULL,
    vector BLOB NOT NULL,
    UNIQUE (model_id, digest)
) STRICT;

-- The attributes of an exchange as a whole, stored once: accounts repeat theirs from exchange to exchange.
-- content: JSON object, keys sorted.
CREATE TABLE attribute_set (
    set_id INTEGER NOT NULL PRIMARY KEY,
    content TEXT NOT NULL UNIQUE
) STRICT;
CREATE TABLE attribute (
    name TEXT NOT NULL,
    value TEXT NOT NULL,
    set_id INTEGER NOT NULL,
    PRIMARY KEY (name, value, set_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE exchange (
    sequence INTEGER NOT NULL PRIMARY KEY,
    exchange_id TEXT NOT NULL UNIQUE,
    account_id TEXT NOT NULL,
    time_us INTEGER NOT NULL,
    prompt INTEGER NOT NULL,
    response INTEGER,
    system INTEGER,
    conversation_id TEXT NOT NULL,
    turn INTEGER,
    model TEXT NOT NULL,
    input_tokens INTEGER,
    output_tokens INTEGER,
    cost_usd REAL,
    attribute_set INTEGER NOT NULL
) STRICT;
CREATE INDEX exchange_time ON exchange (time_us);
CREATE INDEX exchange_account ON exchange (account_id, time_us);
CREATE INDEX exchange_prompt ON exchange (prompt, time_us);
CREATE INDEX exchange_response ON exchange (response, time_us) WHERE response IS NOT NULL;
CREATE INDEX exchange_system ON exchange (system) WHERE system IS NOT NULL;
CREATE INDEX exchange_attribute_set ON exchange (attribute_set);

-- record: the value as JSON; what is looked up or ordered by stands beside it.
CREATE TABLE run (
    run_id TEXT NOT NULL PRIMARY KEY,
    state TEXT NOT NULL,
    created_us INTEGER NOT NULL,
    record TEXT NOT NULL
) STRICT;
CREATE INDEX run_created ON run (created_us, run_id);
CREATE INDEX run_state ON run (state, created_us, run_id);

-- finding_id is the same from run to run.
CREATE TABLE finding (
    run_id TEXT NOT NULL,
    finding_id TEXT NOT NULL,
    record TEXT NOT NULL,
    PRIMARY KEY (run_id, finding_id)
) STRICT;
CREATE INDEX finding_id ON finding (finding_id);
CREATE TABLE finding_account (
    account_id TEXT NOT NULL,
    run_id TEXT NOT NULL,
    finding_id TEXT NOT NULL,
    PRIMARY KEY (account_id, run_id, finding_id)
) STRICT, WITHOUT ROWID;
CREATE TABLE finding_exemplar (
    exchange_id TEXT NOT NULL,
    run_id TEXT NOT NULL,
    finding_id TEXT NOT NULL,
    PRIMARY KEY (exchange_id, run_id, finding_id)
) STRICT, WITHOUT ROWID;

-- Only of the newest finished run.
CREATE TABLE standing (
    run_id TEXT NOT NULL,
    account_id TEXT NOT NULL,
    record TEXT NOT NULL,
    PRIMARY KEY (run_id, account_id)
) STRICT;

CREATE TABLE review (
    review_id INTEGER NOT NULL PRIMARY KEY,
    finding_id TEXT NOT NULL,
    decision TEXT NOT NULL,
    reason TEXT NOT NULL,
    reviewer TEXT NOT NULL,
    time_us INTEGER NOT NULL
) STRICT;
CREATE INDEX review_finding ON review (finding_id, review_id);

-- The outbox: a finding was reported or reviewed.
CREATE TABLE event (
    event_id INTEGER NOT NULL PRIMARY KEY,
    run_id TEXT NOT NULL,
    finding_id TEXT NOT NULL
) STRICT;
CREATE INDEX event_finding ON event (run_id, finding_id);

CREATE TABLE benchmark (
    name TEXT NOT NULL PRIMARY KEY,
    registered_us INTEGER NOT NULL
) STRICT;
CREATE TABLE benchmark_item (
    name TEXT NOT NULL,
    position INTEGER NOT NULL,
    item_id TEXT NOT NULL,
    text_id INTEGER NOT NULL,
    answer TEXT NOT NULL,
    PRIMARY KEY (name, position)
) STRICT;
CREATE INDEX benchmark_item_text ON benchmark_item (text_id);

-- Tombstones: texts an index must forget.
CREATE TABLE erasure (
    erasure_seq INTEGER NOT NULL PRIMARY KEY,
    text_id INTEGER NOT NULL,
    time_us INTEGER NOT NULL
) STRICT;

CREATE TABLE audit (
    audit_id INTEGER NOT NULL PRIMARY KEY,
    time_us INTEGER NOT NULL,
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    subject TEXT NOT NULL
) STRICT;
