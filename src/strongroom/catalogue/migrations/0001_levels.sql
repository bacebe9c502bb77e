-- The four levels of PS3.4 C.6. `attributes` is DICOM JSON (PS3.18 Annex F) as it is answered; `folded` holds the search
-- forms of names, dates, times and sequences (folding.py). Columns beside them exist to be indexed; the empty string
-- stands for "no value", so that every comparison is decided.

CREATE TABLE patient (
  id INTEGER PRIMARY KEY,
  patient_id TEXT NOT NULL,
  issuer_of_patient_id TEXT NOT NULL,
  lone_study TEXT NOT NULL,           -- Study Instance UID when there is no Patient ID: then each study has its own patient
  name_alphabetic TEXT NOT NULL,
  name_ideographic TEXT NOT NULL,
  name_phonetic TEXT NOT NULL,
  birth_date TEXT NOT NULL,
  attributes TEXT NOT NULL,
  folded TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX patient_by_patient_id ON patient (patient_id, issuer_of_patient_id, lone_study);
CREATE INDEX patient_by_name_alphabetic ON patient (name_alphabetic);
CREATE INDEX patient_by_name_ideographic ON patient (name_ideographic) WHERE name_ideographic <> '';
CREATE INDEX patient_by_name_phonetic ON patient (name_phonetic) WHERE name_phonetic <> '';
CREATE INDEX patient_by_birth_date ON patient (birth_date);

-- A study carries its own copy of the patient's attributes as its instances state them: two persons who were given one
-- Patient ID are never shown under one name.
CREATE TABLE study (
  id INTEGER PRIMARY KEY,
  patient INTEGER NOT NULL REFERENCES patient (id),
  study_instance_uid TEXT NOT NULL,
  patient_id TEXT NOT NULL,
  issuer_of_patient_id TEXT NOT NULL,
  name_alphabetic TEXT NOT NULL,
  name_ideographic TEXT NOT NULL,
  name_phonetic TEXT NOT NULL,
  study_date TEXT NOT NULL,
  accession_number TEXT NOT NULL,
  study_id TEXT NOT NULL,
  attributes TEXT NOT NULL,
  folded TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX study_by_uid ON study (study_instance_uid);
CREATE INDEX study_by_patient ON study (patient);
CREATE INDEX study_by_name_alphabetic ON study (name_alphabetic, study_date);
CREATE INDEX study_by_name_ideographic ON study (name_ideographic, study_date) WHERE name_ideographic <> '';
CREATE INDEX study_by_name_phonetic ON study (name_phonetic, study_date) WHERE name_phonetic <> '';
CREATE INDEX study_by_study_date ON study (study_date);
CREATE INDEX study_by_patient_id ON study (patient_id, study_date);
CREATE INDEX study_by_accession_number ON study (accession_number);
CREATE INDEX study_by_study_id ON study (study_id);

CREATE TABLE series (
  id INTEGER PRIMARY KEY,
  study INTEGER NOT NULL REFERENCES study (id),
  series_instance_uid TEXT NOT NULL,
  modality TEXT NOT NULL,
  attributes TEXT NOT NULL,
  folded TEXT NOT NULL
) STRICT;
-- Not unique by itself: devices exist that use one Series Instance UID in two studies.
CREATE UNIQUE INDEX series_of_study ON series (study, series_instance_uid);
CREATE INDEX series_by_uid ON series (series_instance_uid);

CREATE TABLE instance (
  id INTEGER PRIMARY KEY,
  series INTEGER NOT NULL REFERENCES series (id),
  sop_instance_uid TEXT NOT NULL,
  sop_class_uid TEXT NOT NULL,
  transfer_syntax_uid TEXT NOT NULL,
  device TEXT NOT NULL,               -- name in the register of who sent it
  received_at REAL NOT NULL,          -- seconds since 1970, UTC
  differs INTEGER NOT NULL,           -- bits: 1 patient, 2 study, 4 series attributes contradict those kept; 8 other patient
  blob_id BLOB NOT NULL,
  key_id BLOB NOT NULL,
  pack INTEGER NOT NULL,
  pack_offset INTEGER NOT NULL,
  sealed_length INTEGER NOT NULL,
  plain_length INTEGER NOT NULL,
  digest BLOB NOT NULL,               -- SHA-256 of the data set as it was sent
  content_digest BLOB,                -- of the data set in whatever native syntax (I3), once somebody needed it
  checked_at REAL,                    -- when its blob was last opened and found whole
  attributes TEXT NOT NULL,
  folded TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX instance_by_uid ON instance (sop_instance_uid);
CREATE INDEX instance_of_series ON instance (series);
CREATE INDEX instance_by_checked_at ON instance (checked_at);

-- What lies in a series, by who sent it and of which class: every "Number of ... Related ...", SOP Classes in Study and a
-- scope of sending devices are answered from here without touching instances.
CREATE TABLE series_source (
  series INTEGER NOT NULL REFERENCES series (id),
  device TEXT NOT NULL,
  sop_class_uid TEXT NOT NULL,
  other_patient INTEGER NOT NULL,     -- 1: these instances name another patient than the study does
  instances INTEGER NOT NULL,
  bytes INTEGER NOT NULL,
  PRIMARY KEY (series, device, sop_class_uid, other_patient)
) STRICT, WITHOUT ROWID;

CREATE TABLE study_source (
  device TEXT NOT NULL,
  study INTEGER NOT NULL REFERENCES study (id),
  PRIMARY KEY (device, study)
) STRICT, WITHOUT ROWID;

CREATE TABLE study_modality (
  modality TEXT NOT NULL,
  study_date TEXT NOT NULL,
  study INTEGER NOT NULL REFERENCES study (id),
  PRIMARY KEY (modality, study_date, study)
) STRICT, WITHOUT ROWID;

-- One row. `records` counts calls of Recorder.record inside the transaction, which is how the recorder notices a rollback.
CREATE TABLE totals (
  only INTEGER PRIMARY KEY CHECK (only = 1),
  records INTEGER NOT NULL,
  patients INTEGER NOT NULL,
  studies INTEGER NOT NULL,
  series INTEGER NOT NULL,
  instances INTEGER NOT NULL,
  bytes INTEGER NOT NULL
) STRICT;
INSERT INTO totals VALUES (1, 0, 0, 0, 0, 0, 0);

-- Metadata fragments: DICOM JSON of a whole header, sealed under the study's key; `fragment_due` names what still lacks one.
CREATE TABLE fragment (
  instance INTEGER PRIMARY KEY REFERENCES instance (id),
  sealed BLOB NOT NULL
) STRICT;
CREATE TABLE fragment_due (
  instance INTEGER PRIMARY KEY REFERENCES instance (id)
) STRICT;
