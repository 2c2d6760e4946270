"""Compiled code kept on disk, so that the second start of the command line need not compile again.

This is JAX's persistent cache, in the user's cache folder. Its key is the program, the compiler and the processor. If
the folder cannot be written, code is compiled at every start.
"""

import os
from pathlib import Path

import jax
import platformdirs

FOLDER_VARIABLE = "SAMEBODY_CACHE"
"""Environment variable with another folder; an empty value switches the cache off."""


def cache_folder() -> Path | None:
    """The folder of compiled code; None if the user switched the cache off."""
    chosen = os.environ.get(FOLDER_VARIABLE)
    if chosen is None:
        return Path(platformdirs.user_cache_dir("samebody")) / "compiled"
    return Path(chosen) if chosen else None


def enable_compile_cache() -> None:
    """Switch the cache on, unless the user or the host has configured one already."""
    folder = cache_folder()
    if folder is None or jax.config.jax_compilation_cache_dir:  # pyright: ignore[reportAttributeAccessIssue]
        return
    jax.config.update("jax_compilation_cache_dir", str(folder))
    # By default JAX keeps only programs that took a second to compile; samebody has many that take less.
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
