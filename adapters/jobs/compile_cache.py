"""Compiled code kept on disk, so that the second start of the command line need not compile again.

JAX's own persistent cache, in the user's cache folder. It keys on the program, the compiler and the processor; a folder
that cannot be written costs nothing but the compilation.
"""

import os
from pathlib import Path

import jax
import platformdirs

FOLDER_VARIABLE = "SAMEBODY_CACHE"
"""Another folder; an empty value switches the cache off."""


def cache_folder() -> Path | None:
    """Where compiled code is kept; None if the user wants no cache."""
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
    # By default JAX keeps only what took a second; ours takes less and is many.
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
