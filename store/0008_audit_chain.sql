-- hash: of the row before and this one (domain/audit.py); NULL only between this script and the step that follows it, which
-- takes the rows of older folders into the chain. subject_digest stays when an erasure puts a tombstone in the subject's
-- place, which is the one change that is let through.
ALTER TABLE audit ADD COLUMN roles TEXT NOT NULL DEFAULT '';
ALTER TABLE audit ADD COLUMN credential TEXT NOT NULL DEFAULT '';
ALTER TABLE audit ADD COLUMN request_id TEXT NOT NULL DEFAULT '';
ALTER TABLE audit ADD COLUMN outcome TEXT NOT NULL DEFAULT 'allowed';
ALTER TABLE audit ADD COLUMN subject_digest BLOB NOT NULL DEFAULT x'';
ALTER TABLE audit ADD COLUMN keyed INTEGER NOT NULL DEFAULT 0;
ALTER TABLE audit ADD COLUMN hash BLOB;
CREATE INDEX audit_subject ON audit (subject) WHERE subject != '';

CREATE TRIGGER audit_keeps_rows BEFORE DELETE ON audit
BEGIN
    SELECT RAISE(ABORT, 'the audit record is append-only');
END;

-- A REPLACE deletes without asking the trigger above.
CREATE TRIGGER audit_grows BEFORE INSERT ON audit
WHEN NEW.audit_id <= (SELECT max(audit_id) FROM audit)
BEGIN
    SELECT RAISE(ABORT, 'the audit record is append-only');
END;

CREATE TRIGGER audit_keeps_values BEFORE UPDATE ON audit
WHEN OLD.hash IS NOT NULL AND NOT (
    NEW.subject = 'erased:' || lower(hex(OLD.subject_digest))
    AND NEW.audit_id = OLD.audit_id
    AND NEW.time_us = OLD.time_us
    AND NEW.actor = OLD.actor
    AND NEW.action = OLD.action
    AND NEW.roles = OLD.roles
    AND NEW.credential = OLD.credential
    AND NEW.request_id = OLD.request_id
    AND NEW.outcome = OLD.outcome
    AND NEW.subject_digest = OLD.subject_digest
    AND NEW.keyed = OLD.keyed
    AND NEW.hash = OLD.hash
)
BEGIN
    SELECT RAISE(ABORT, 'the audit record is append-only');
END;
