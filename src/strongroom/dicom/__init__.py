"""
What a data set is (PS3.3, PS3.5, PS3.6, PS3.10, PS3.18 Annex F): bytes in, values out, no input or output, no clock.

Nothing here imports pydicom at module import: the dictionaries are generated tables (`_tables.py`).
"""
