"""``python -m unet_batch`` is ``unet-batch``."""

from unet_batch.cli.main import main

main()
