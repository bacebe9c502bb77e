-- What a name is found by in a fuzzy search (names.py): its words, and behind "~" what they sound like. Only studies are
-- listed: a patient is found by the names its studies state, which costs a deposit half as much. Filled for what is there
-- already by name_terms(), which this package gives to the migration.

CREATE TABLE study_name (
  term TEXT NOT NULL,
  study INTEGER NOT NULL REFERENCES study (id),
  PRIMARY KEY (term, study)
) STRICT, WITHOUT ROWID;
CREATE INDEX study_name_of_study ON study_name (study, term);

INSERT INTO study_name (term, study)
  SELECT found.value, study.id
  FROM study, json_each(name_terms(study.name_alphabetic, study.name_ideographic, study.name_phonetic)) AS found;
