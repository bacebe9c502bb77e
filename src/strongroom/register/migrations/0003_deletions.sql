-- What was deleted and is kept: out of the catalogue, sealed in its packs, to be taken back until it is erased.
CREATE TABLE deletion (
  id INTEGER PRIMARY KEY,
  at REAL NOT NULL,                   -- seconds since 1970, UTC
  actor TEXT NOT NULL,                -- kind and name, as the trail has it
  reason TEXT NOT NULL
) STRICT;

CREATE TABLE deleted_instance (
  id INTEGER PRIMARY KEY,
  deletion INTEGER NOT NULL REFERENCES deletion (id),
  sop_instance_uid TEXT NOT NULL,
  sop_class_uid TEXT NOT NULL,
  series_instance_uid TEXT NOT NULL,
  study_instance_uid TEXT NOT NULL,
  transfer_syntax_uid TEXT NOT NULL,
  device TEXT NOT NULL,
  received_at REAL NOT NULL,
  digest BLOB NOT NULL,
  blob_id BLOB NOT NULL UNIQUE,
  key_id BLOB NOT NULL,
  pack INTEGER NOT NULL,
  pack_offset INTEGER NOT NULL,
  sealed_length INTEGER NOT NULL,
  plain_length INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX deleted_instance_by_uid ON deleted_instance (sop_instance_uid);
CREATE INDEX deleted_instance_by_study ON deleted_instance (study_instance_uid, series_instance_uid);
CREATE INDEX deleted_instance_of_deletion ON deleted_instance (deletion);
