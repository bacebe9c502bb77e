"""Pixel data to pictures and other transfer syntaxes, in worker processes that can be killed (SECURITY C32)."""
