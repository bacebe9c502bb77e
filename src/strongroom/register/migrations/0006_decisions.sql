-- What persons decided about conflicts and quarantine. Nothing that is decided about is dropped: what loses is listed as
-- deleted, or stays where it is listed, with the decision.
CREATE TABLE decision (
  id INTEGER PRIMARY KEY,
  at REAL NOT NULL,                   -- seconds since 1970, UTC
  actor TEXT NOT NULL,                -- kind and name, as the trail has it
  reason TEXT NOT NULL,
  outcome TEXT NOT NULL CHECK (outcome IN ('first', 'second', 'both', 'released', 'discarded'))
) STRICT;

-- content: another content under a SOP Instance UID that is taken. patient: it names another patient than its study does,
-- and what it names stands beside it: what belongs together is decided together.
ALTER TABLE conflict ADD COLUMN kind TEXT NOT NULL DEFAULT 'content' CHECK (kind IN ('content', 'patient'));
ALTER TABLE conflict ADD COLUMN patient_id TEXT NOT NULL DEFAULT '';
ALTER TABLE conflict ADD COLUMN issuer_of_patient_id TEXT NOT NULL DEFAULT '';
ALTER TABLE conflict ADD COLUMN decision INTEGER REFERENCES decision (id);
CREATE INDEX conflict_by_study ON conflict (study_instance_uid) WHERE kind = 'patient';
CREATE INDEX conflict_undecided ON conflict (id) WHERE decision IS NULL;

ALTER TABLE quarantine ADD COLUMN decision INTEGER REFERENCES decision (id);
CREATE INDEX quarantine_by_digest ON quarantine (digest, fault);
CREATE INDEX quarantine_undecided ON quarantine (id) WHERE decision IS NULL;

-- Of what lost a decision there may be several under one UID, beside one that is in the catalogue; a restore of its study
-- does not bring it back, another decision does.
ALTER TABLE deleted_instance ADD COLUMN decision INTEGER REFERENCES decision (id);
DROP INDEX deleted_instance_by_uid;
CREATE UNIQUE INDEX deleted_instance_by_uid ON deleted_instance (sop_instance_uid) WHERE decision IS NULL;
CREATE INDEX deleted_instance_of_decision ON deleted_instance (decision) WHERE decision IS NOT NULL;
