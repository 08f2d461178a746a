"""A disk that takes its time, below real nodes: a library that is loaded before libc delays its syncs.

A node that is started with `environment(...)` reads before each sync how long it should last. The sync ends
early when it is told another time meanwhile, so that a disk that hangs can be mended.
"""

import subprocess
from pathlib import Path

from tests.cluster.harness import Server

SOURCE = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* How long a sync of this file lasts, in seconds: what the file that is named by the environment and the
   process says, "SECONDS PART", if PART occurs in the path. */
static double wanted(int descriptor) {
    char name[4096], link[64], path[4096], part[256];
    double seconds = 0.0;
    const char *folder = getenv("KRAFT_TEST_SYNC");
    if (folder == NULL) return 0.0;
    snprintf(name, sizeof name, "%s/%d", folder, getpid());
    FILE *file = fopen(name, "r");
    if (file == NULL) return 0.0;
    int found = fscanf(file, "%lf %255s", &seconds, part);
    fclose(file);
    if (found != 2) return 0.0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0.0;
    path[length] = 0;
    return strstr(path, part) ? seconds : 0.0;
}

static void delay(int descriptor) {
    struct timespec step = {0, 10000000};
    double first = wanted(descriptor);
    for (double waited = 0.0; waited < first && wanted(descriptor) == first; waited += 0.01)
        nanosleep(&step, NULL);
}

int fdatasync(int descriptor) {
    static int (*real)(int);
    if (!real) real = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
    delay(descriptor);
    return real(descriptor);
}

int fsync(int descriptor) {
    static int (*real)(int);
    if (!real) real = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
    delay(descriptor);
    return real(descriptor);
}
"""


class SlowDisk:
    """The library, built with the compiler `cc` in `folder`."""

    def __init__(self, cc: str, folder: Path) -> None:
        source, self._library, self._folder = folder / "sync.c", folder / "sync.so", folder
        source.write_text(SOURCE)
        subprocess.run([cc, "-shared", "-fPIC", "-O1", "-o", self._library, source, "-ldl"], check=True)

    @property
    def environment(self) -> dict[str, str]:
        """What the processes of nodes need."""
        return {"LD_PRELOAD": str(self._library), "KRAFT_TEST_SYNC": str(self._folder)}

    def delay(self, server: Server, seconds: float, part: str = "log.db") -> None:
        """From now on each sync of a file whose path contains `part` lasts `seconds`; 0 mends the disk."""
        new = self._folder / "new"
        new.write_text(f"{seconds} {part}")
        new.replace(self._folder / str(server.pid))
