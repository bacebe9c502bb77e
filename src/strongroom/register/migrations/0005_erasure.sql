-- Legal holds, requests to erase, tombstones, retired packs.
SELECT 1;
