-- What persons decided about conflicts and quarantine.
SELECT 1;
