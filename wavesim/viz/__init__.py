"""Views of a run: `figures` and films for paper and README, `session` and `window` to watch it live."""
