"""Building: from C source to a loaded library, by the system's compiler, cached per user.

A cached library is named by a hash of its source, the compiler, its flags and the processor; beside it lies a hash of
its own bytes. One that does not match, or that somebody else could have written, is built anew and never loaded.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import platform
import shlex
import shutil
import stat
import subprocess
import sysconfig
import tempfile
from pathlib import Path

from .formulas import Unavailable

FLAGS = ["-std=gnu11", "-O2", "-march=native", "-fPIC", "-shared", "-fopenmp-simd", "-fno-math-errno",
         "-fno-trapping-math", "-ffp-contract=off", "-fno-builtin-sin", "-fno-builtin-cos", "-fwrapv", "-w"]


@functools.cache
def compiler() -> tuple[str, ...]:
    """The command of the C compiler; `Unavailable` if there is none."""
    asked = os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc"
    for command in (shlex.split(asked)[:1], ["cc"], ["gcc"], ["clang"]):
        if command and shutil.which(command[0]):
            return (command[0],)
    raise Unavailable("the native target needs a C compiler (cc, gcc or clang, or name one in the environment variable "
                      "CC): install one, or use target=\"numpy\"")


@functools.cache
def identity() -> str:
    """Compiler and processor, as text: what a library may depend on besides its source."""
    version = subprocess.run([*compiler(), "--version"], capture_output=True, text=True, check=False).stdout
    info = Path("/proc/cpuinfo")
    flags = [line for line in info.read_text().splitlines() if line.startswith(("model name", "flags"))][:2] \
        if info.exists() else [platform.processor()]
    return "\n".join([*compiler(), version, platform.machine(), *flags])


def folder() -> Path:
    """The folder of cached libraries: this user's alone."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    path = base / "tinygraph"
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = path.stat()
        if found.st_uid == os.getuid() and not stat.S_IMODE(found.st_mode) & 0o022 and os.access(path, os.W_OK):
            return path
    except OSError:
        pass
    return _temporary()


@functools.cache
def _temporary() -> Path:
    """A folder for this process alone, where no cache can be kept."""
    import atexit

    path = tempfile.mkdtemp(prefix="tinygraph-")
    atexit.register(shutil.rmtree, path, ignore_errors=True)
    return Path(path)


def built(source: str, openmp: bool = False) -> Path:
    """The library of a C source: from the cache, or built now."""
    flags = [*FLAGS, *["-fopenmp"] * openmp]
    key = hashlib.sha256("\0".join([source, identity(), *flags]).encode()).hexdigest()[:32]
    library = folder() / f"{key}.so"
    if not _sound(library):
        _build(source, flags, library)
    return library


def _sound(library: Path) -> bool:
    """Whether a cached library is whole and our own."""
    digest = library.with_suffix(".sha256")
    try:
        mine = all(path.stat().st_uid == os.getuid() for path in (library, digest))
        return mine and digest.read_text() == hashlib.sha256(library.read_bytes()).hexdigest()
    except (OSError, UnicodeDecodeError):
        return False


def _build(source: str, flags: list[str], library: Path) -> None:
    with tempfile.TemporaryDirectory(dir=library.parent) as scratch:
        code, built = Path(scratch) / "program.c", Path(scratch) / "program.so"
        code.write_text(source)
        for extra in ([], ["-DSCALAR_MATH"]):  # an older libm has fewer vector functions
            result = subprocess.run([*compiler(), *flags, *extra, str(code), "-o", str(built), "-lm"],
                                    capture_output=True, text=True, check=False,
                                    process_group=0 if os.name == "posix" else None)  # Ctrl-C is not for the compiler
            if result.returncode == 0:
                break
        else:
            said = [line for line in result.stderr.splitlines() if "error" in line] or ["it gave no reason"]
            raise Unavailable(f"the C compiler {compiler()[0]} did not build the program: {said[0].strip()}")
        ctypes.CDLL(str(built))  # what does not load is not kept
        digest = Path(scratch) / "program.sha256"
        digest.write_text(hashlib.sha256(built.read_bytes()).hexdigest())
        os.replace(digest, library.with_suffix(".sha256"))
        os.replace(built, library)


@functools.cache
def blas(name: str) -> int:
    """The address of a function of SciPy's BLAS."""
    from scipy.linalg import cython_blas

    capsule = cython_blas.__pyx_capi__[name]
    api = ctypes.pythonapi
    api.PyCapsule_GetName.restype = ctypes.c_char_p
    api.PyCapsule_GetName.argtypes = [ctypes.py_object]
    api.PyCapsule_GetPointer.restype = ctypes.c_void_p
    api.PyCapsule_GetPointer.argtypes = [ctypes.py_object, ctypes.c_char_p]
    return api.PyCapsule_GetPointer(capsule, api.PyCapsule_GetName(capsule))


@functools.cache
def blas_threads() -> tuple[int, int] | None:
    """The addresses of the functions that read and set how many threads SciPy's BLAS uses, if it is an OpenBLAS."""
    from scipy.linalg import cython_blas

    library = ctypes.CDLL(cython_blas.__file__)
    for prefix in ("scipy_openblas", "openblas"):
        try:
            found = [getattr(library, f"{prefix}_{verb}_num_threads") for verb in ("get", "set")]
        except AttributeError:
            continue
        get, put = (ctypes.cast(function, ctypes.c_void_p).value or 0 for function in found)
        return get, put
    return None
