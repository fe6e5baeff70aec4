"""Scoring clips: those of a run or of any folder, on the engine that makes clips."""
