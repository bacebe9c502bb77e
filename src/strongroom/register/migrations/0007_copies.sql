-- Second copies and backups.
SELECT 1;
