"""python -m course.site FOLDER"""

import sys
from pathlib import Path

from course.site.build import build

if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
    sys.exit("usage: python -m course.site FOLDER, the folder that the pages are written to")
folder = Path(sys.argv[1])
print(f"{len(build(folder))} pages in {folder}; open {folder / 'index.html'}")
