#!/usr/bin/env python3
"""What the parts of a pull take, each alone, on all processors and with the best tool for it.

Usage: pull_floor.py REGISTRY REPOSITORY:TAG SCRATCH

Prints a line "PART SECONDS" for each of: download (curl, all layers at once, to nowhere), hash
(openssl, SHA-256 of the blobs and of the tars), inflate (igzip), write (tar(1) without compression).
A pull that did all of them at once and perfectly would take as long as the slowest. Each is the best
of three, and what it reads is in the page cache.
"""
import json
import os
import shutil
import subprocess
import sys
import time
import urllib.request

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
ROUNDS = 3


def all_at_once(commands):
    """Runs the commands, as many at a time as there are processors, and returns the seconds."""
    waiting = list(reversed(commands))
    running = []
    begin = time.monotonic()
    while waiting or running:
        while waiting and len(running) < os.cpu_count():
            running.append(subprocess.Popen(waiting.pop(), stdout=subprocess.DEVNULL))
        process = running.pop(0)
        if process.wait() != 0:
            sys.exit(f"pull_floor.py: {process.args[0]} failed")
    return time.monotonic() - begin


def best(commands, before=lambda: None):
    seconds = []
    for _ in range(ROUNDS):
        before()
        seconds.append(all_at_once(commands))
    return min(seconds)


def main():
    registry, name, scratch = sys.argv[1:]
    repository, tag = name.split(":")
    base = f"http://{registry}/v2/{repository}"
    os.makedirs(scratch)
    manifest = urllib.request.Request(f"{base}/manifests/{tag}", headers={"Accept": MANIFEST})
    with urllib.request.urlopen(manifest) as response:
        layers = json.load(response)["layers"]
    urls = [f"{base}/blobs/{layer['digest']}" for layer in layers]
    blobs = [os.path.join(scratch, f"{i}.gz") for i in range(len(layers))]
    tars = [os.path.join(scratch, f"{i}.tar") for i in range(len(layers))]
    trees = [os.path.join(scratch, f"{i}") for i in range(len(layers))]
    for url, blob, tar in zip(urls, blobs, tars):
        subprocess.run(["curl", "-fsS", "-o", blob, url], check=True)
        subprocess.run(["igzip", "-d", "-k", "-f", "-o", tar, blob], check=True)

    def empty_trees():
        for tree in trees:
            shutil.rmtree(tree, ignore_errors=True)
            os.mkdir(tree)
        # A file system that avoids inodes it has just freed would take longer.
        time.sleep(6)
        os.sync()

    print("download", best([["curl", "-fsS", "-o", "/dev/null", url] for url in urls]))
    print("hash", best([["openssl", "dgst", "-sha256", path] for path in tars + blobs]))
    print("inflate", best([["igzip", "-d", "-c", blob] for blob in blobs]))
    print("write", best([["tar", "-xf", tar, "-C", tree] for tar, tree in zip(tars, trees)],
                        empty_trees))
    shutil.rmtree(scratch)


if __name__ == "__main__":
    main()
