"""Numbered scripts that make and change the catalogue's tables (`ground.database.migrations_in`)."""
