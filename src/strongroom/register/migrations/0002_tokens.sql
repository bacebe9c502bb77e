-- Tokens of services; times are seconds since 1970 UTC. A row is never removed: the trail names tokens by it.
CREATE TABLE token (
  name TEXT PRIMARY KEY,
  digest BLOB NOT NULL UNIQUE CHECK (length(digest) = 32),  -- SHA-256 of the token, which itself is kept nowhere
  roles TEXT NOT NULL,                -- a JSON array in order; what they give belongs to `access`
  scope TEXT NOT NULL,                -- a JSON object, as a device's
  created_at REAL NOT NULL,
  expires REAL NOT NULL,
  revoked_at REAL,
  last_used_at REAL
) STRICT, WITHOUT ROWID;
