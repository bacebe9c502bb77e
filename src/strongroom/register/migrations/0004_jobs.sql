-- Work that outlives a restart. Times are seconds since 1970 UTC; bounded (jobs.py).
CREATE TABLE job (
  id INTEGER PRIMARY KEY AUTOINCREMENT,  -- never used twice: the trail names jobs by it
  kind TEXT NOT NULL,
  key TEXT,                           -- a waiting job of the same kind and key is not made twice
  payload TEXT NOT NULL,              -- a JSON object; its meaning belongs to the kind
  state TEXT NOT NULL CHECK (state IN ('waiting', 'running', 'done', 'failed', 'cancelled')),
  attempt INTEGER NOT NULL,           -- how often it was begun
  due_at REAL NOT NULL,               -- waiting: not before; running: until when it is leased
  created_at REAL NOT NULL,
  changed_at REAL NOT NULL,
  done INTEGER NOT NULL,
  total INTEGER NOT NULL,
  problem TEXT NOT NULL               -- why the last attempt failed
) STRICT;
CREATE INDEX job_waiting ON job (kind, due_at) WHERE state = 'waiting';
CREATE INDEX job_waiting_by_key ON job (kind, key) WHERE state = 'waiting' AND key IS NOT NULL;
CREATE INDEX job_running ON job (id) WHERE state = 'running';
CREATE INDEX job_over ON job (changed_at) WHERE state IN ('done', 'failed', 'cancelled');
