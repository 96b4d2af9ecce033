"""Stands in for Colab's own package, which is not published: enough to be recognised by."""

from google.colab import files

__all__ = ["files"]
