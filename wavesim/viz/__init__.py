"""Views of a run: `figures` for paper and README, `session` and `window` to watch it live.

    from wavesim.viz import figures
    figures.error_curves("errors.png", {"pruned": errors}, frame_interval=1 / 32)
"""
