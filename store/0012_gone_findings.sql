-- What is gone and may come back is looked for among few of many large records.
CREATE INDEX finding_gone ON finding (run_id) WHERE json_extract(record, '$.lineage') = 'gone';
