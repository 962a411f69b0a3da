"""Edits that each take a guarantee away, and the test that must notice."""
