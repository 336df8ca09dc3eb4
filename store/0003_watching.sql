-- What is followed between runs: of the newest whole run, and emptied by the next.
-- last_sequence, last_text: the log and the texts before the run read its window. looked_sequence: exchanges up to this
-- one were held against the pools.
CREATE TABLE watch (
    run_id TEXT NOT NULL PRIMARY KEY,
    last_sequence INTEGER NOT NULL,
    last_text INTEGER NOT NULL,
    looked_sequence INTEGER NOT NULL
) STRICT;

-- Pools that the run did not report for want of evidence. record: the value as JSON.
CREATE TABLE watched_pool (
    pool_id TEXT NOT NULL PRIMARY KEY,
    record TEXT NOT NULL
) STRICT;

-- Prompts sent since the run that lie near a pool: pool_id is a watched pool's, or a finding's.
CREATE TABLE near_prompt (
    pool_id TEXT NOT NULL,
    account_id TEXT NOT NULL,
    text_id INTEGER NOT NULL,
    time_us INTEGER NOT NULL,
    PRIMARY KEY (pool_id, account_id, text_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX near_prompt_account ON near_prompt (account_id);

-- Accounts that joined a finding's pool since the run.
CREATE TABLE joined_account (
    finding_id TEXT NOT NULL,
    account_id TEXT NOT NULL,
    run_id TEXT NOT NULL,
    time_us INTEGER NOT NULL,
    prompts INTEGER NOT NULL,
    p_value REAL NOT NULL,
    PRIMARY KEY (finding_id, account_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX joined_account_account ON joined_account (account_id);
