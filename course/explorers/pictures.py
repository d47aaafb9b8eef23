"""A still picture of each explorer in stored lectures, for places that run nothing, such as GitHub.

    python -m course.explorers.pictures FILE...

`make lectures` runs it after the lectures. It needs a Chromium and Playwright, which `make test` has too.
"""

from __future__ import annotations

import base64
import io
import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

from course.explorers import modules

MIME = "application/vnd.normalization-and-momentum.explorer+json"
WIDTH = 820  # CSS pixels, as wide as an explorer is at most
SHARPNESS = 2  # device pixels in a CSS pixel
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking")
PAGE = "<!doctype html><html><head><style>body {{ margin: 0 }} {css}</style></head><body></body></html>"
MOUNT = """async ([text, stored]) => {
  const { kit, module } = await import(URL.createObjectURL(new Blob([text], { type: "text/javascript" })));
  const { spec, data } = JSON.parse(stored);
  kit.mount(document.body, module, spec, kit.decode(data));
  await new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn)));
}"""


def find_chromium() -> str | None:
    """The Chromium that CHROMIUM names, or the first on PATH."""
    named = os.environ.get("CHROMIUM")
    for name in (named,) if named else BROWSERS:
        if found := shutil.which(name):
            return found
    return None


class Camera:
    """A browser that takes pictures of explorers; use it in a `with`."""

    def __enter__(self) -> Camera:
        chromium = find_chromium()
        if chromium is None:
            raise SystemExit("Pictures of explorers need a Chromium, on PATH or named by CHROMIUM.")
        try:
            from playwright.sync_api import sync_playwright
        except ImportError:
            raise SystemExit("Pictures of explorers need Playwright: pip install playwright") from None
        self._playwright = sync_playwright().start()
        self._browser = self._playwright.chromium.launch(executable_path=chromium, args=list(FLAGS))
        return self

    def __exit__(self, *_: object) -> None:
        self._browser.close()
        self._playwright.stop()

    def picture(self, stored: dict[str, Any]) -> tuple[bytes, dict[str, int]]:
        """An explorer as it starts: PNG, and its {width, height} in CSS pixels.

        stored: {module, spec, data}, as a notebook holds it.
        """
        page = self._browser.new_page(viewport={"width": WIDTH, "height": 900}, device_scale_factor=SHARPNESS)
        page.set_content(PAGE.format(css=(modules.FOLDER / "kit.css").read_text(encoding="utf-8")))
        page.evaluate(MOUNT, [modules.bundle(stored["module"]), json.dumps(stored)])
        explorer = page.locator(".explorer")
        box = explorer.bounding_box()
        png = _smaller(explorer.screenshot())
        page.close()
        return png, {"width": round(box["width"]), "height": round(box["height"])}


def _smaller(png: bytes) -> bytes:
    """The same picture in 256 colours, a quarter as large."""
    from PIL import Image

    smaller = io.BytesIO()
    Image.open(io.BytesIO(png)).convert("RGB").quantize(256).save(smaller, "PNG", optimize=True)
    return smaller.getvalue()


def add_pictures(path: Path, camera: Camera) -> int:
    """Put a picture beside every stored explorer of a notebook; returns how many there are."""
    text = path.read_text(encoding="utf-8")
    notebook = json.loads(text)
    outputs = [output for cell in notebook["cells"] for output in cell.get("outputs", ())]
    explorers = [output for output in outputs if MIME in output.get("data", {})]
    for output in explorers:
        png, size = camera.picture(output["data"][MIME])
        output["data"]["image/png"] = base64.b64encode(png).decode("ascii")
        output["metadata"]["image/png"] = size
    # As graders/notebooks.py writes notebooks.
    new = json.dumps(notebook, indent=1, ensure_ascii=False, sort_keys=True) + "\n"
    if new != text:
        path.write_text(new, encoding="utf-8", newline="\n")
    return len(explorers)


def main(paths: list[str]) -> int:
    """Run the command line; returns the exit status."""
    with Camera() as camera:
        for path in map(Path, paths):
            print(f"{path}: {add_pictures(path, camera)} pictures of explorers")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
