-- cause of an event: reported, reviewed, joined; empty for those before there were causes.
ALTER TABLE event ADD COLUMN cause TEXT NOT NULL DEFAULT '';

-- How far each endpoint has been told of events. failing_since_us: since when every try failed; 0 while they do not.
CREATE TABLE webhook (
    name TEXT NOT NULL PRIMARY KEY,
    cursor INTEGER NOT NULL,
    delivered INTEGER NOT NULL DEFAULT 0,
    failing_since_us INTEGER NOT NULL DEFAULT 0,
    failures INTEGER NOT NULL DEFAULT 0,
    last_error TEXT NOT NULL DEFAULT ''
) STRICT, WITHOUT ROWID;

-- Events that an endpoint did not take in time.
CREATE TABLE webhook_dead (
    name TEXT NOT NULL,
    event_id INTEGER NOT NULL,
    time_us INTEGER NOT NULL,
    error TEXT NOT NULL,
    PRIMARY KEY (name, event_id)
) STRICT, WITHOUT ROWID;
