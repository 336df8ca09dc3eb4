-- Texts at rest. sealed: AES-256-GCM (nonce, ciphertext, tag) in place of the content, where texts are encrypted; the
-- digest of a text, the key of an attribute set and the values of attributes are then keyed, too.
-- chars: length of a text whose content was let go of; NULL while it is there.
ALTER TABLE text ADD COLUMN sealed BLOB;
ALTER TABLE text ADD COLUMN chars INTEGER;
ALTER TABLE attribute_set ADD COLUMN sealed BLOB;
ALTER TABLE benchmark_item ADD COLUMN sealed BLOB;
