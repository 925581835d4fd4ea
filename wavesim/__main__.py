"""`python -m wavesim` is `wavesim`."""

from wavesim.cli import main

main()
