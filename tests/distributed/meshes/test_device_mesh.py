"""The mesh on four real ranks: groups as the planner numbers them, and each mistake by name."""

import pytest
import torch
import torch.distributed as dist

from course_lib.collectives import rank
from course_lib.distributed import device_mesh, launch
from course_lib.distributed.planning import Layout

SIZES = [{"dp": 2, "tp": 2, "pp": 1}, {"dp": 2, "tp": 1, "pp": 2}, {"dp": 1, "tp": 2, "pp": 2}]
MISTAKES = [
    ({"dp": 3, "tp": 3}, "dp=3 times tp=3 times pp=1 is not the number of ranks, 4"),
    ({"tp": 3}, "tp=3 times pp=1 does not divide the number of ranks, 4"),
    ({"tp": 2, "pp": 4}, "tp=2 times pp=4 does not divide the number of ranks, 4"),
    ({"tp": 0}, "at least 1, got dp=None, tp=0, pp=1"),
    ({"dp": -1, "tp": 2}, "at least 1, got dp=-1, tp=2, pp=1"),
]


def of_all_meshes():
    """For each mesh and dimension: the group as it is told, the sum of ranks over it, and the place in it."""
    found = []
    for sizes in SIZES:
        for given in (sizes, {"tp": sizes["tp"], "pp": sizes["pp"]}):  # dp is what is left
            mesh = device_mesh(**given)
            assert mesh.mesh_dim_names == ("dp", "pp", "tp")
            for dimension in sizes:
                group, total = mesh[dimension].get_group(), torch.tensor(rank())
                dist.all_reduce(total, group=group)
                members = dist.get_process_group_ranks(group)
                found.append((members, int(total), mesh.get_local_rank(dimension)))
    for sizes, message in MISTAKES:
        with pytest.raises(ValueError, match=message):
            device_mesh(**sizes)
    return found


def test_groups_are_those_of_the_planner():
    results = launch(of_all_meshes, num_workers=4, timeout=120)
    for me, found in enumerate(results):
        expected = []
        for sizes in SIZES:
            layout = Layout(**sizes, num_micro_batches=4)
            for dimension in [*sizes, *sizes]:
                (members,) = [group for group in layout.groups(dimension) if me in group]
                expected.append((members, sum(members), members.index(me)))
        assert found == expected
    assert results[3][:3] == [([1, 3], 4, 1), ([2, 3], 5, 1), ([3], 3, 0)]  # by thought: copies, layers, stages


def test_a_mesh_needs_a_process_group():
    with pytest.raises(ValueError, match="there is no process group"):
        device_mesh()
