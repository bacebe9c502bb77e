"""
What vault, catalogue, register and trail stand on: sealing, keys, the medium, chained records, the encrypted database.

Nothing here knows DICOM beyond the spelling of a UID, and nothing here decides who may do what.
"""
