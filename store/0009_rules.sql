-- Rules that suppress findings. record: the value as JSON.
CREATE TABLE rule (
    rule_number INTEGER NOT NULL PRIMARY KEY,
    record TEXT NOT NULL
) STRICT;

-- Which rule explains which finding, as a run reports it, and why. Whether a rule holds is decided on reading.
CREATE TABLE rule_match (
    run_id TEXT NOT NULL,
    finding_id TEXT NOT NULL,
    rule_number INTEGER NOT NULL,
    summary TEXT NOT NULL,
    PRIMARY KEY (run_id, finding_id, rule_number)
) STRICT, WITHOUT ROWID;
