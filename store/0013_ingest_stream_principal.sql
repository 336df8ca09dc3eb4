-- Who began a named stream; '' is nobody yet: whoever goes on with it next is asked for from then on.
ALTER TABLE ingest_stream ADD COLUMN principal TEXT NOT NULL DEFAULT '';
