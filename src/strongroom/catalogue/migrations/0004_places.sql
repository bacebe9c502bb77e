-- What lies in one pack, in the order of its records: for check, repair, healing and compaction.
CREATE INDEX instance_by_place ON instance (pack, pack_offset);
