-- How far each named ingest stream is durable. position: exchanges of its input, counted from its beginning.
CREATE TABLE ingest_stream (
    stream_id TEXT NOT NULL PRIMARY KEY,
    position INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
