"""Peak memory of another process: it counts what was freed again, and a process that is gone needs none."""

import subprocess
import sys

from course_lib.study.running.process_memory import _from_psutil, peak_memory_bytes

PROGRAM = "block = bytearray(200_000_000); del block; print(flush=True); input()"


def test_the_peak_of_a_process_counts_what_it_freed():
    with subprocess.Popen([sys.executable, "-c", PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        peak, now = peak_memory_bytes(process.pid), _from_psutil(process.pid)
        process.communicate(b"\n")
    if sys.platform != "darwin":  # which keeps no peak
        assert 200_000_000 < peak < 300_000_000
    if sys.platform == "linux":
        assert now < 100_000_000
    assert peak_memory_bytes(process.pid) == 0
