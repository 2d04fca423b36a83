"""Objectives, update rules and the descent that joins them: arrays in, arrays out."""
