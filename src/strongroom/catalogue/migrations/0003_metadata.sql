-- Where the frames of an image lie, sealed under the study's key; only what a look at the front does not tell.
CREATE TABLE frame_index (
  instance INTEGER PRIMARY KEY REFERENCES instance (id),
  sealed BLOB NOT NULL
) STRICT;

-- Fragments of one series, joined and compressed, in the order of the instances: those of `first` to `last` that are not
-- in `fragment`. The ranges of a series do not overlap.
CREATE TABLE merged (
  id INTEGER PRIMARY KEY,
  series INTEGER NOT NULL REFERENCES series (id),
  first INTEGER NOT NULL,
  last INTEGER NOT NULL,
  plain_length INTEGER NOT NULL,      -- of the fragments, before they were compressed
  merged_id BLOB NOT NULL,            -- what the sealed bytes are bound to, as a blob's are to its id
  key_id BLOB NOT NULL,
  sealed BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX merged_of_series ON merged (series, first);

-- Series with fragments that are not merged yet.
CREATE TABLE merge_due (
  series INTEGER PRIMARY KEY REFERENCES series (id)
) STRICT;

-- Fragments made before did not name Pixel Data: they are made again.
DELETE FROM fragment;
INSERT OR IGNORE INTO fragment_due (instance) SELECT id FROM instance;
