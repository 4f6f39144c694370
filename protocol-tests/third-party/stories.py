"""What the Python scripts share: runs their stories, one line each, and polls with a deadline.

A story is a function of (bootstrap, name): it uses topics, groups and transactional ids that begin with that name, so
that stories do not meet and can run again on the same cluster.
"""

import os
import sys
import time
import traceback

CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]
PATIENCE = 30.0


def run(library, stories):
    """Usage: SCRIPT BOOTSTRAP [WORD...]: runs the stories whose names have one of the words, or all."""
    bootstrap, words = sys.argv[1], sys.argv[2:]
    chosen = [story for story in stories if not words or any(word in story.__name__ for word in words)]
    failed = [story for story in chosen if not passes(library, story, bootstrap)]
    print(f"{library}: {len(chosen) - len(failed)} passed, {len(failed)} failed", flush=True)
    sys.stdout.flush()
    # Threads of a client that is in trouble must not keep the process.
    os._exit(1 if failed or not chosen else 0)


def passes(library, story, bootstrap):
    title, began = story.__name__.replace("_", " "), time.monotonic()
    try:
        story(bootstrap, f"{story.__name__}-{os.getpid()}")
    except BaseException:  # an interrupt too: the others are worth nothing then, but their names are
        print(f"FAILED {library}: {title}\n{traceback.format_exc()}", flush=True)
        return False
    print(f"ok {library}: {title} ({time.monotonic() - began:.1f} s)", flush=True)
    return True


def until(what, probe):
    """Asks until `probe` gives something true, and gives that."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        found = probe()
        if found:
            return found
    raise AssertionError(f"not within {PATIENCE:.0f} s: {what}")


def equal(found, expected, what=""):
    assert found == expected, f"{what}: {found!r} is not {expected!r}"
