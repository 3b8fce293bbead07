"""Stand-in images: root file systems built from Debian packages, loaded under the names that configs under test use.

No registry can be reached where the tests run. `tests/images/images.json` maps names to root file systems; each root
file system is a script beside it that writes a tar file. The tar files are cached, keyed by the script's text, and one
root file system is one layer, shared by all images made of it."""

import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile
import time

FOLDER = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "images")
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
HOMES = {"root": "/root", "circleci": "/home/circleci"}
LABEL = "tenon.test.recipe"


def _say(text):
    print(text, file=sys.stderr, flush=True)


def _digest_file(path):
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def recipes():
    """{image name: {"rootfs": …, "user": …, "config": more of the image's configuration, as Docker has it}}"""
    with open(os.path.join(FOLDER, "images.json"), encoding="utf-8") as file:
        return {name: recipe for name, recipe in json.load(file).items() if name}


def _recipe_key(name, recipe):
    """What an image is made of, as one short text: the same text, the same image."""
    with open(os.path.join(FOLDER, recipe["rootfs"]), "rb") as file:
        script = file.read()
    return hashlib.sha256(json.dumps([name, recipe], sort_keys=True).encode() + script).hexdigest()[:16]


def rootfs(name, cache):
    """Path of the cached tar file of root file system `name`, built first when it is not there."""
    script = os.path.join(FOLDER, name)
    folder = os.path.join(cache, "rootfs")
    path = os.path.join(folder, f"{name}-{_digest_file(script)[:16]}.tar")
    if os.path.exists(path):
        return path
    os.makedirs(folder, exist_ok=True)
    started = time.monotonic()
    partial = f"{path}.{os.getpid()}.partial"
    try:
        done = subprocess.run([script, partial], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=900, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"cannot build root file system '{name}': {script} exited {done.returncode}:\n"
                               f"{done.stdout.decode(errors='replace')[-4000:]}")
        os.rename(partial, path)
    finally:
        if os.path.exists(partial):
            os.unlink(partial)
    for old in os.listdir(folder):
        if old.startswith(name + "-") and old.endswith(".tar") and os.path.join(folder, old) != path:
            os.unlink(os.path.join(folder, old))
    _say(f"root file system '{name}': built in {time.monotonic() - started:.0f} s, "
         f"{os.path.getsize(path) >> 20} MB")
    return path


def extract(name, member, cache, path):
    """Writes one file of root file system `name` to `path`, as a program."""
    with tarfile.open(rootfs(name, cache)) as archive, open(path, "wb") as file:
        file.write(archive.extractfile("./" + member).read())
    os.chmod(path, 0o755)


def _config(recipe, key, layer):
    home = HOMES[recipe["user"]]
    work = home + "/project" if recipe["user"] == "circleci" else "/"
    more = recipe.get("config", {})
    labels = {LABEL: key, **more.get("Labels", {})}
    return {"architecture": "amd64", "os": "linux", "created": "2025-01-01T00:00:00Z",
            "config": {"User": recipe["user"] if recipe["user"] != "root" else "", "WorkingDir": work,
                       "Env": [f"PATH={PATH}", f"HOME={home}"] if recipe["user"] != "root" else [f"PATH={PATH}"],
                       "Cmd": ["/bin/sh"], **more, "Labels": labels},
            "rootfs": {"type": "layers", "diff_ids": ["sha256:" + layer]},
            "history": [{"created": "2025-01-01T00:00:00Z", "created_by": "tests/images"}]}


def _add(archive, name, data):
    entry = tarfile.TarInfo(name)
    entry.size = len(data)
    archive.addfile(entry, io.BytesIO(data))


def _archive(file, name, wanted, cache):
    """Writes a `docker save` archive of the images `wanted` ({name: key}), all of root file system `name`."""
    layer_path = rootfs(name, cache)
    layer = _digest_file(layer_path)
    known = recipes()
    manifest = []
    with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as archive:
        archive.add(layer_path, arcname=f"{layer}/layer.tar")
        for image, key in wanted.items():
            config = json.dumps(_config(known[image], key, layer), sort_keys=True).encode()
            config_name = hashlib.sha256(config).hexdigest() + ".json"
            _add(archive, config_name, config)
            manifest.append({"Config": config_name, "RepoTags": [image], "Layers": [f"{layer}/layer.tar"]})
        _add(archive, "manifest.json", json.dumps(manifest).encode())


def missing(engine):
    """{root file system: {image name: key}} of what the engine does not have, or has from another recipe."""
    found = {}
    for name, recipe in recipes().items():
        key = _recipe_key(name, recipe)
        image = engine.image(name)
        labels = (image or {}).get("Config", {}).get("Labels") or {}
        if labels.get(LABEL) != key:
            found.setdefault(recipe["rootfs"], {})[name] = key
    return found


def ensure(engine, cache):
    """Makes every stand-in image present in the engine. Only for an engine of our own: it takes over names."""
    for name, wanted in missing(engine).items():
        rootfs(name, cache)
        started = time.monotonic()
        with tempfile.TemporaryFile(dir=cache) as file:
            _archive(file, name, wanted, cache)
            file.seek(0)
            engine.load(file)
        # What had these names before has none now.
        engine.call("POST", "/images/prune", query={"filters": '{"dangling": ["true"]}'}, timeout=300)
        _say(f"images of '{name}': {', '.join(wanted)} loaded in {time.monotonic() - started:.0f} s")
