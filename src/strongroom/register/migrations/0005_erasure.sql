-- Legal holds, requests to erase, tombstones, retired packs. Times are seconds since 1970 UTC; actors are kind and name, as
-- the trail has them.

CREATE TABLE hold (
  id INTEGER PRIMARY KEY,
  study_instance_uid TEXT NOT NULL,
  reason TEXT NOT NULL,
  actor TEXT NOT NULL,
  at REAL NOT NULL,
  expires REAL,                       -- NULL: until it is released
  released_at REAL,
  released_by TEXT
) STRICT;
CREATE INDEX hold_by_study ON hold (study_instance_uid) WHERE released_at IS NULL;

CREATE TABLE erasure (
  id INTEGER PRIMARY KEY,
  at REAL NOT NULL,
  actor TEXT NOT NULL,
  reason TEXT NOT NULL,
  -- each step is durable before the next begins: rows gone, keys gone, bytes gone
  state TEXT NOT NULL CHECK (state IN ('requested', 'cancelled', 'confirmed', 'removed', 'shredded', 'done')),
  decided_at REAL,                    -- when it was confirmed or cancelled
  decided_by TEXT,
  ended_at REAL
) STRICT;
CREATE TABLE erasure_study (
  erasure INTEGER NOT NULL REFERENCES erasure (id),
  study_instance_uid TEXT NOT NULL,
  tombstone_id BLOB,                  -- once its rows are gone
  PRIMARY KEY (erasure, study_instance_uid)
) STRICT, WITHOUT ROWID;

-- What was erased: the same stands in the sealed file (docs/formats/tombstones.md), which travels with copies and backups.
CREATE TABLE tombstone (
  tombstone_id BLOB PRIMARY KEY CHECK (length(tombstone_id) = 16),
  study_instance_uid TEXT NOT NULL,
  key_ids BLOB NOT NULL,              -- 16 bytes each
  instances INTEGER NOT NULL,
  at REAL NOT NULL,
  proof BLOB NOT NULL,
  released_at REAL,                   -- since then the study may be sent again
  sent_again INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;
CREATE INDEX tombstone_by_study ON tombstone (study_instance_uid);

-- Packs that were compacted away; their numbers are never used again.
CREATE TABLE retired_pack (
  number INTEGER PRIMARY KEY,
  at REAL NOT NULL,
  reason TEXT NOT NULL
) STRICT;
-- Packs that hold erased bytes and wait for it.
CREATE TABLE compaction_due (
  pack INTEGER PRIMARY KEY,
  at REAL NOT NULL
) STRICT;
