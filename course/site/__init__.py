"""The course as pages that need neither Python nor a network: `make site` writes them to site/."""
