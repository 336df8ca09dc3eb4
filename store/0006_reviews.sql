-- The history of a finding is append-only: what was done, on which run's report of it, and the rest as JSON.
-- decision: the state from here on. detail: assignee, findings, accounts, basis.
ALTER TABLE review ADD COLUMN action TEXT NOT NULL DEFAULT 'decide';
ALTER TABLE review ADD COLUMN run_id TEXT NOT NULL DEFAULT '';
ALTER TABLE review ADD COLUMN detail TEXT NOT NULL DEFAULT '{}';

-- What holds now of the merges and splits in the history. Runs are stored as they reported: both are applied on reading.
CREATE TABLE merged_finding (
    finding_id TEXT NOT NULL PRIMARY KEY,
    into_id TEXT NOT NULL,
    review_id INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX merged_finding_into ON merged_finding (into_id);
CREATE TABLE excluded_account (
    finding_id TEXT NOT NULL,
    account_id TEXT NOT NULL,
    review_id INTEGER NOT NULL,
    PRIMARY KEY (finding_id, account_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX excluded_account_account ON excluded_account (account_id);
