"""What writes a file whole or not at all, for the scripts of this folder."""

from helpers._files import write_atomically

__all__ = ["write_atomically"]
