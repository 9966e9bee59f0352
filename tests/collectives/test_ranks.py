"""One process without a group is rank 0 of 1; two processes are tried in ``test_gather``."""

from course_lib.collectives import initialized, rank, world_size


def test_alone():
    assert (initialized(), rank(), world_size()) == (False, 0, 1)
