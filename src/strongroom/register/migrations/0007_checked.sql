-- What was kept aside or deleted is looked at like everything else: by its place in a pack, and by when it was last opened.
ALTER TABLE conflict ADD COLUMN checked_at REAL;
ALTER TABLE quarantine ADD COLUMN checked_at REAL;
ALTER TABLE deleted_instance ADD COLUMN checked_at REAL;
CREATE INDEX conflict_by_place ON conflict (pack, pack_offset);
CREATE INDEX quarantine_by_place ON quarantine (pack, pack_offset);
CREATE INDEX deleted_instance_by_place ON deleted_instance (pack, pack_offset);
CREATE INDEX conflict_by_checked_at ON conflict (checked_at);
CREATE INDEX quarantine_by_checked_at ON quarantine (checked_at);
CREATE INDEX deleted_instance_by_checked_at ON deleted_instance (checked_at);
