"""Searches every byte below some folders, and inside every zstd and gzip stream that begins anywhere in a file.

    search_bytes.py FOLDER… -- MARKER SECRET…

Fails when a SECRET is found, or the MARKER, which is known to be there, is not found below one of the folders."""

import os
import re
import subprocess
import sys
import zlib

MAGIC = re.compile(rb"\x28\xb5\x2f\xfd|\x1f\x8b\x08")


def contents(data):
    yield data
    for match in MAGIC.finditer(data):
        rest = data[match.start():]
        if rest[:2] == b"\x1f\x8b":
            try:
                yield zlib.decompressobj(31).decompress(rest)
            except zlib.error:
                pass
        else:
            # What follows the stream is an error, and what came before it is there.
            yield subprocess.run(["zstd", "-dcq"], input=rest, stdout=subprocess.PIPE,
                                 stderr=subprocess.DEVNULL).stdout


def main():
    split = sys.argv.index("--")
    folders, (marker, *secrets) = sys.argv[1:split], [text.encode() for text in sys.argv[split + 1:]]
    failed = False
    for folder in folders:
        files = searched = 0
        marked = False
        for place, _, names in os.walk(folder):
            for name in names:
                with open(os.path.join(place, name), "rb") as file:
                    data = file.read()
                files += 1
                for content in contents(data):
                    searched += len(content)
                    marked = marked or marker in content
                    for secret in secrets:
                        if secret in content:
                            failed = True
                            print(f"{os.path.join(place, name)} has {secret.decode()}")
        print(f"{folder}: {files} files, {searched} bytes")
        if not marked:
            failed = True
            print(f"{folder}: {marker.decode()} is not there, so that nothing was searched")
    sys.exit(failed)


if __name__ == "__main__":
    main()
