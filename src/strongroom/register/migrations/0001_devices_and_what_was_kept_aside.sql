-- Times are seconds since 1970 UTC, days are YYYY-MM-DD, sets are JSON arrays in order.

CREATE TABLE device (
  name TEXT PRIMARY KEY,              -- stays taken after a revocation: the trail names devices by it
  ae_title TEXT NOT NULL,
  actions TEXT NOT NULL,
  networks TEXT NOT NULL,
  doors TEXT NOT NULL,
  scope TEXT NOT NULL,                -- a JSON object; its meaning belongs to `access`
  private_sop_classes TEXT NOT NULL,
  duplicates TEXT NOT NULL CHECK (duplicates IN ('warn', 'success')),
  idle_seconds INTEGER,
  max_associations INTEGER,
  move_host TEXT NOT NULL,
  move_port INTEGER NOT NULL,
  destinations TEXT,
  user_identity_type INTEGER,
  state TEXT NOT NULL CHECK (state IN ('active', 'suspended', 'revoked')),
  created_at REAL NOT NULL,
  expires TEXT,
  last_seen_at REAL
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX device_by_ae_title ON device (ae_title) WHERE state <> 'revoked';

CREATE TABLE certificate (
  serial TEXT PRIMARY KEY,            -- decimal: up to 160 bits
  fingerprint TEXT NOT NULL UNIQUE,   -- SHA-256 of the DER, lower-case hex
  device TEXT REFERENCES device (name),  -- NULL: one of the archive's own
  not_before REAL NOT NULL,
  expires REAL NOT NULL,
  revoked_at REAL
) STRICT, WITHOUT ROWID;
CREATE INDEX certificate_of_device ON certificate (device);

-- Who knocked and was not let in; bounded (callers.py).
CREATE TABLE refused_caller (
  address TEXT NOT NULL,
  ae_title TEXT NOT NULL,
  door TEXT NOT NULL,
  reason TEXT NOT NULL,               -- the last one
  fingerprint TEXT NOT NULL,          -- of the certificate shown last, empty when none was
  count INTEGER NOT NULL,
  first_at REAL NOT NULL,
  last_at REAL NOT NULL,
  PRIMARY KEY (address, ae_title, door)
) STRICT, WITHOUT ROWID;
CREATE INDEX refused_caller_by_last_at ON refused_caller (last_at);

CREATE TABLE trail_head (
  chain TEXT PRIMARY KEY,
  sequence INTEGER NOT NULL,          -- where the chain ended when the newest group was committed, that group not included
  hash BLOB NOT NULL,
  flushed_sequence INTEGER NOT NULL,  -- up to where its own file was flushed for certain
  flushed_hash BLOB NOT NULL
) STRICT, WITHOUT ROWID;

-- Records that are durable here because their group was committed, until the chain's own file has been flushed behind them.
CREATE TABLE trail_outbox (
  chain TEXT NOT NULL,
  sequence INTEGER NOT NULL,
  payload BLOB NOT NULL,
  PRIMARY KEY (chain, sequence)
) STRICT, WITHOUT ROWID;

-- Another content under a SOP Instance UID that is taken: the first stays, this one waits for a decision.
CREATE TABLE conflict (
  id INTEGER PRIMARY KEY,
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
CREATE INDEX conflict_by_uid ON conflict (sop_instance_uid);

-- What was refused but kept: never served, never searched.
CREATE TABLE quarantine (
  id INTEGER PRIMARY KEY,
  fault TEXT NOT NULL,                -- our code for why
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

CREATE TABLE setting (
  name TEXT PRIMARY KEY,
  value TEXT NOT NULL
) STRICT, WITHOUT ROWID;
