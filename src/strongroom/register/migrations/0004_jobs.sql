-- Work that outlives a restart.
SELECT 1;
