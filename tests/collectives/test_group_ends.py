"""A process group that is destroyed is gone: none of its threads runs on into the end of the interpreter."""

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import sys
import time
from pathlib import Path
import torch
import torch.distributed as dist
import course_lib.collectives

def gloo_threads():
    return [task for task in Path("/proc/self/task").iterdir() if "gloo" in (task / "comm").read_text()]

dist.init_process_group("gloo", store=dist.FileStore(sys.argv[1], 1), rank=0, world_size=1)
assert gloo_threads()
torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))])  # the first optimizer makes torch import more of itself
dist.destroy_process_group()
end = time.monotonic() + 20
while gloo_threads() and time.monotonic() < end:
    time.sleep(0.01)  # they end a moment later
assert not gloo_threads()
"""


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="threads are counted where Linux lists them")
def test_no_thread_of_a_destroyed_group_is_left(tmp_path):
    subprocess.run([sys.executable, "-c", SCRIPT, str(tmp_path / "store")], check=True, timeout=120)
