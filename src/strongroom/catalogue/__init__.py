"""
The index of what the vault holds, in SQL: derived from the data sets, so it can always be rebuilt from the packs.

Levels and keys are those of the Query/Retrieve Service Class (PS3.4 Annex C). `record` writes, `search` and `instances`
read; a `Scope` is compiled into every statement that reads, so that nothing outside of it is ever fetched.
"""
