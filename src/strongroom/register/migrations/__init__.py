"""Numbered scripts that make and change the register's tables (`ground.database.migrations_in`)."""
