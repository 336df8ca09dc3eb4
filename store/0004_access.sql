-- Bearer tokens, without their secret. digest: SHA-256 of the whole token. roles: names in order, commas between.
-- Times that never come are 0. Rows are never deleted: whether a token was ever minted decides whether one is needed.
CREATE TABLE access_token (
    token_id TEXT NOT NULL PRIMARY KEY,
    digest BLOB NOT NULL,
    name TEXT NOT NULL,
    roles TEXT NOT NULL,
    created_us INTEGER NOT NULL,
    expires_us INTEGER NOT NULL,
    revoked_us INTEGER NOT NULL,
    last_used_us INTEGER NOT NULL
) STRICT;
