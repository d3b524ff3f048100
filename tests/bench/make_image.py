#!/usr/bin/env python3
"""Makes the images of the benchmark from files of this machine and pushes them to a registry.

Usage: make_image.py pod REGISTRY NAME --pause FILE --busybox FILE --layer-dir DIR
       make_image.py files REGISTRY NAME --megabytes N --layers N
       make_image.py single REGISTRY NAME --megabytes N

`pod` is one small layer with busybox and /pause, also unpacked into DIR. `files` takes regular files
below 1 MiB from /usr, in the order of their paths, until the layers together hold N megabytes, and
prints how many there are. `single` is one layer of the largest files below /usr that have less than
64 MiB, taken again under other names until there are N megabytes. Layers are gzip, as nearly all layers of public registries.
"""
import argparse
import concurrent.futures
import gzip
import hashlib
import io
import json
import os
import shutil
import stat
import sys
import tarfile
import urllib.parse
import urllib.request

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
GZIP_LEVEL = 6
MAX_FILE = 1 << 20
MAX_LARGE = 64 << 20


def digest(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def send(method, url, data, content_type):
    request = urllib.request.Request(url, data=data, method=method)
    request.add_header("Content-Type", content_type)
    with urllib.request.urlopen(request, timeout=120) as response:
        return response.headers


def push_blob(base, data):
    headers = send("POST", base + "/blobs/uploads/", b"", "application/octet-stream")
    location = urllib.parse.urljoin(base, headers["Location"])
    separator = "&" if "?" in location else "?"
    target = location + separator + urllib.parse.urlencode({"digest": digest(data)})
    send("PUT", target, data, "application/octet-stream")
    return {"digest": digest(data), "size": len(data)}


def push_image(registry, name, layers):
    """`layers` is a list of (compressed bytes, digest of the tar)."""
    repository, tag = name.split(":")
    base = f"http://{registry}/v2/{repository}"
    config = json.dumps({
        "architecture": {"x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine],
        "os": "linux",
        "config": {"Entrypoint": ["/pause"], "Env": ["PATH=/bin"], "WorkingDir": "/"},
        "rootfs": {"type": "layers", "diff_ids": [diff_id for _, diff_id in layers]},
    }).encode()
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": {"mediaType": CONFIG, **push_blob(base, config)},
        "layers": [{"mediaType": LAYER, **push_blob(base, data)} for data, _ in layers],
    }
    send("PUT", f"{base}/manifests/{tag}", json.dumps(manifest).encode(), MANIFEST)


def compress(tar):
    return gzip.compress(tar, GZIP_LEVEL, mtime=0), digest(tar)


def make_pod_layer(pause, busybox, directory):
    for name in ("bin", "dev", "etc", "proc", "sys", "tmp"):
        os.makedirs(os.path.join(directory, name), exist_ok=True)
    shutil.copy(busybox, os.path.join(directory, "bin/busybox"))
    for applet in ("sh", "true", "sleep", "cat", "ls"):
        os.symlink("busybox", os.path.join(directory, "bin", applet))
    shutil.copy(pause, os.path.join(directory, "pause"))
    for name in ("hosts", "hostname", "resolv.conf"):
        open(os.path.join(directory, "etc", name), "w").close()
    with open(os.path.join(directory, "etc/passwd"), "w") as passwd:
        passwd.write("root:x:0:0:root:/:/bin/sh\n")
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name in sorted(os.listdir(directory)):
            tar.add(os.path.join(directory, name), name)
    return compress(buffer.getvalue())


def small_files(roots):
    """(path, size) of every regular file below MAX_FILE, in a stable order."""
    for root in roots:
        for folder, folders, names in os.walk(root):
            folders.sort()
            for name in sorted(names):
                path = os.path.join(folder, name)
                info = os.lstat(path)
                if stat.S_ISREG(info.st_mode) and info.st_size < MAX_FILE:
                    yield path, info.st_size


def choose_files(megabytes, layers):
    """As many lists of paths as layers, of about the same size together."""
    share = megabytes * 1000 * 1000 / layers
    parts = [[] for _ in range(layers)]
    total = count = 0
    for path, size in small_files(("/usr/share", "/usr/lib", "/usr/include")):
        if total >= share * layers:
            break
        parts[int(total // share)].append(path)
        total += size
        count += 1
    return parts, count, total


def make_files_layer(paths):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for path in paths:
            tar.add(path, path.lstrip("/"), recursive=False)
    return compress(buffer.getvalue())


def make_single_layer(megabytes):
    """The layer, how many files it has, and their bytes."""
    sizes = {}
    for folder, _, names in os.walk("/usr"):
        for path in (os.path.join(folder, name) for name in names):
            info = os.lstat(path)
            if stat.S_ISREG(info.st_mode) and MAX_FILE <= info.st_size < MAX_LARGE:
                sizes[path] = info.st_size
    largest = sorted(sizes, key=lambda path: (-sizes[path], path))
    buffer = io.BytesIO()
    total = count = 0
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        while total < megabytes * 1000 * 1000:
            path = largest[count % len(largest)]
            tar.add(path, f"{count // len(largest)}{path}", recursive=False)
            total += sizes[path]
            count += 1
    return compress(buffer.getvalue()), count, total


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=("pod", "files", "single"))
    parser.add_argument("registry")
    parser.add_argument("name", help="REPOSITORY:TAG")
    parser.add_argument("--pause")
    parser.add_argument("--busybox")
    parser.add_argument("--layer-dir")
    parser.add_argument("--megabytes", type=int)
    parser.add_argument("--layers", type=int)
    options = parser.parse_args()
    if options.kind == "pod":
        layer = make_pod_layer(options.pause, options.busybox, options.layer_dir)
        push_image(options.registry, options.name, [layer])
        return
    if options.kind == "single":
        layer, count, total = make_single_layer(options.megabytes)
        push_image(options.registry, options.name, [layer])
        print(f"{total / 1e6:.0f} MB in {count} files and one layer, "
              f"{len(layer[0]) / 1e6:.0f} MB compressed")
        return
    parts, count, total = choose_files(options.megabytes, options.layers)
    with concurrent.futures.ProcessPoolExecutor(os.cpu_count()) as pool:
        layers = list(pool.map(make_files_layer, parts))
    push_image(options.registry, options.name, layers)
    compressed = sum(len(data) for data, _ in layers)
    print(f"{total / 1e6:.0f} MB in {count} files and {options.layers} layers, "
          f"{compressed / 1e6:.0f} MB compressed")


if __name__ == "__main__":
    sys.exit(main())
