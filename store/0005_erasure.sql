-- Erasures of accounts: recorded before anything is removed, and gone on with at the next start where a crash came
-- between. digest: of the account id under the setting `erasure_key`. account_id: empty once the erasure is finished.
-- finished_us: NULL until then.
CREATE TABLE account_erasure (
    erasure_id INTEGER NOT NULL PRIMARY KEY,
    digest BLOB NOT NULL,
    account_id TEXT NOT NULL,
    requested_us INTEGER NOT NULL,
    finished_us INTEGER
) STRICT;
CREATE INDEX account_erasure_digest ON account_erasure (digest, requested_us);
CREATE INDEX account_erasure_pending ON account_erasure (erasure_id) WHERE finished_us IS NULL;
INSERT INTO setting (name, value) VALUES ('erasure_key', lower(hex(randomblob(32))));
