# SPDX-License-Identifier: BSD-2-Clause
"""poke.py FILE STATEMENT...: Python statements on the image ${i}; see image.py."""
import os
import struct
import sys
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import image  # noqa: E402
from image import BITMAPS, DATA_FILE, LUKS, MASK, up  # noqa: E402

names = dict(struct=struct, os=os, image=image, BITMAPS=BITMAPS, DATA_FILE=DATA_FILE, LUKS=LUKS, MASK=MASK, up=up,
             i=image.Image(sys.argv[1], "r+b"))
for statement in sys.argv[2:]:
    exec(statement, names)
