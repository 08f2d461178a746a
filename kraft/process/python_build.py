"""How the Python interpreter was built: a plain one runs kraft up to 1.4 times slower.

`python -m kraft.process.python_build` prints that and ends with status 1 unless the build is optimised. It
needs only the standard library, because `tools/find-python` asks interpreters before kraft is installed.

CPython keeps no record of its optimisation but the arguments of its `configure` script and the compiler's
flags. Debian and what derives from it compile the program twice and publish the flags of the other one, the
shared library (changelog of python3.8, 3.8.0~b2-3 and ~b3-1); their program is known by their name for the
directories instead. https://docs.python.org/3/using/configure.html#performance-options
"""

import platform
import sys
import sysconfig
from collections.abc import Mapping
from dataclasses import dataclass

OPTIMISED, PLAIN, DEBUG = "optimised", "plain", "debug"
_FLAGS = ("--enable-optimizations", "--with-lto", "-fprofile-use", "-fprofile-instr-use", "-flto")
_FLAGS_OF = ("CONFIG_ARGS", "PY_CORE_CFLAGS", "PY_CORE_LDFLAGS")  # variables of sysconfig
_DEBIAN_SCHEME, _DEBIAN_PREFIX = "deb_system", "/usr"
_DEBIAN_MACHINES = frozenset({"x86_64", "aarch64"})  # other machines' packages are not all optimised


@dataclass(frozen=True, slots=True)
class PythonBuild:
    """`kind` is optimised (profile-guided or link-time), plain, or debug; `sign` is how that is known."""

    version: str
    kind: str
    sign: str

    def __str__(self) -> str:
        """For a person, such as `Python 3.11.2, optimised build (packaged by Debian)`."""
        return f"Python {self.version}, {self.kind} build ({self.sign})"


def python_build() -> PythonBuild:
    """The build of the interpreter that runs this."""
    packaged = (
        _DEBIAN_SCHEME in sysconfig.get_scheme_names()
        and sys.base_prefix == _DEBIAN_PREFIX
        and platform.machine() in _DEBIAN_MACHINES
    )
    return PythonBuild(platform.python_version(), *judged(sysconfig.get_config_vars(), packaged=packaged))


def judged(variables: Mapping[str, object], *, packaged: bool) -> tuple[str, str]:
    """The kind of a build and its sign, from the variables of sysconfig; `packaged` by Debian or Ubuntu."""
    if variables.get("Py_DEBUG"):
        return DEBUG, "Py_DEBUG"
    words = {word.strip("'\"") for name in _FLAGS_OF for word in str(variables.get(name, "")).split()}
    found = [flag for flag in _FLAGS if any(_is(word, flag) for word in words)]
    if found:
        return OPTIMISED, " ".join(found)
    if packaged:
        return OPTIMISED, "packaged by Debian or Ubuntu"
    return PLAIN, "without --enable-optimizations"


def _is(word: str, flag: str) -> bool:
    """Whether a word is the flag or gives it a value other than no, such as -flto=auto."""
    name, _, value = word.partition("=")
    return name == flag and value != "no"


if __name__ == "__main__":
    build = python_build()
    sys.stdout.write(f"{build}\n")
    sys.exit(build.kind != OPTIMISED)
