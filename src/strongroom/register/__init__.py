"""
What cannot be rebuilt from the packs: who may connect, which certificates were issued, where each trail chain ends,
what was kept aside and why.

It lies in the same database as the catalogue, so that a group commit is one transaction. Every function takes the
connection of the caller's transaction and gives plain dataclasses; deciding who may do what is `access`'s business.
"""
