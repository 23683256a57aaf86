"""Foreign image files, read box by box behind one Protocol. Knows no verb and writes nothing.

from unet_batch.formats.config import ReadConfig
from unet_batch.formats.opening import open_reader

with open_reader("slide.svs", ReadConfig(level=1)) as reader:
corner = reader.read(Box((0, 0), (512, 512)))  # (channels, 512, 512)
"""
