"""The trail: what was done, by whom, to which study, in a form nobody can quietly change (PS3.15 A.5)."""
