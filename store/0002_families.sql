-- The runs whose families are kept, in the order they finished.
-- slice: by which rule the run picked its exchanges; empty for everything in the default window.
-- joined_seq: the place of `vector.prompt_seq` up to which texts were looked at for joining.
CREATE TABLE family_run (
    run_id TEXT NOT NULL PRIMARY KEY,
    finished_seq INTEGER NOT NULL UNIQUE,
    slice TEXT NOT NULL,
    joined_seq INTEGER NOT NULL
) STRICT;

-- family_id is the same from run to run. place: order of the listing.
CREATE TABLE family (
    run_id TEXT NOT NULL,
    family_id TEXT NOT NULL,
    place INTEGER NOT NULL,
    lineage TEXT NOT NULL,
    record TEXT NOT NULL,
    PRIMARY KEY (run_id, family_id)
) STRICT;
CREATE INDEX family_place ON family (run_id, place);
CREATE TABLE family_exemplar (
    exchange_id TEXT NOT NULL,
    run_id TEXT NOT NULL,
    family_id TEXT NOT NULL,
    PRIMARY KEY (exchange_id, run_id, family_id)
) STRICT, WITHOUT ROWID;

-- Which family each text of a run is in; of the newest run of a slice only. Apart from `family_run`, because an update
-- writes a row anew. Arrays are little-endian: text_ids int64[m], rising; family int32[m]; core_distance float32[m];
-- exchanges int32[m]; gate_distance float32[f]. family_ids: JSON list of f ids.
CREATE TABLE family_labels (
    run_id TEXT NOT NULL PRIMARY KEY,
    family_ids TEXT NOT NULL,
    gate_distance BLOB NOT NULL,
    text_ids BLOB NOT NULL,
    family BLOB NOT NULL,
    core_distance BLOB NOT NULL,
    exchanges BLOB NOT NULL
) STRICT;

-- Texts that joined a family after the newest run of everything in the default window; the next such run empties it.
CREATE TABLE family_join (
    text_id INTEGER NOT NULL PRIMARY KEY,
    run_id TEXT NOT NULL,
    family_id TEXT NOT NULL,
    distance REAL NOT NULL
) STRICT;
CREATE INDEX family_join_family ON family_join (run_id, family_id);
