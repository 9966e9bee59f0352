"""Files speak of the course alone: no registry's address, no path of the machine that they were written on."""

import fnmatch
import os
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# Put together here, so that this file does not hold what it looks for.
HOSTS = ("pypi" + ".org", "pypi" + ".python.org", "python" + "hosted.org", "conda.ana" + "conda.org")
HOSTS += ("repo.ana" + "conda.com", "download.py" + "torch.org", "registry.npm" + "js.org")
FOLDERS = ("work", "root", r"(?:home|Users)/(?!ada/)\w+")  # "ada" is the made-up person of the tests
FORBIDDEN = re.compile("|".join([*map(re.escape, HOSTS), rf"(?<![\w.~)}}/-])/(?:{'|'.join(FOLDERS)})/"]))


def tracked_texts():
    """Every text file of the checkout that git does not ignore, with its contents."""
    ignored = [line.rstrip("/") for line in (ROOT / ".gitignore").read_text(encoding="utf-8").split()] + [".git"]
    for folder, subfolders, files in os.walk(ROOT):
        subfolders[:] = [name for name in subfolders if not any(fnmatch.fnmatch(name, each) for each in ignored)]
        for name in files:
            path = Path(folder, name)
            try:
                yield path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8")
            except UnicodeDecodeError:
                continue  # a picture or weights


def test_no_file_names_a_registry_or_a_path_of_one_machine():
    found = [
        f"{name}:{number}: {match[0]}"
        for name, text in tracked_texts()
        for number, line in enumerate(text.splitlines(), 1)
        if (match := FORBIDDEN.search(line))
    ]
    assert found == []


def test_what_is_looked_for_is_found():
    for line in (f"see https://{HOSTS[0]}/simple", 'open("' + "/ro" + 'ot/x")', "in " + "/home" + "/bob/course"):
        assert FORBIDDEN.search(line), line
    for line in ("and/or/work/out", "https://pytorch.org/get-started", "~/work/x", "{root}/work/x", "/home/ada/course"):
        assert not FORBIDDEN.search(line), line
