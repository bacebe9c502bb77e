-- What a patient's name is found by in a fuzzy search (names.py): its words, and behind "~" what they sound like. Filled
-- for what is there already by name_terms(), which this package gives to the migration.

CREATE TABLE patient_name (
  term TEXT NOT NULL,
  patient INTEGER NOT NULL REFERENCES patient (id),
  PRIMARY KEY (term, patient)
) STRICT, WITHOUT ROWID;
CREATE INDEX patient_name_of_patient ON patient_name (patient, term);

CREATE TABLE study_name (
  term TEXT NOT NULL,
  study INTEGER NOT NULL REFERENCES study (id),
  PRIMARY KEY (term, study)
) STRICT, WITHOUT ROWID;
CREATE INDEX study_name_of_study ON study_name (study, term);

INSERT INTO patient_name (term, patient)
  SELECT found.value, patient.id
  FROM patient, json_each(name_terms(patient.name_alphabetic, patient.name_ideographic, patient.name_phonetic)) AS found;
INSERT INTO study_name (term, study)
  SELECT found.value, study.id
  FROM study, json_each(name_terms(study.name_alphabetic, study.name_ideographic, study.name_phonetic)) AS found;
