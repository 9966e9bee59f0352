"""Ranks laid out in three dimensions: copies of the model, pipeline stages, parts of each layer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from course_lib.collectives import initialized, world_size
from course_lib.distributed.launching.group import device

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh


def device_mesh(*, dp: int | None = None, tp: int = 1, pp: int = 1) -> DeviceMesh:
    """Return torch's mesh of all ranks with the dimensions ``("dp", "pp", "tp")``, of which some may have size 1.

    Neighbouring ranks sit in one machine, where links are fastest. Tensor parallelism sends whole activations several
    times in each layer, so it gets the last dimension, that of the neighbours. Stages of a pipeline send one activation
    for each micro-batch and come next. Copies of the model talk least often, once a step, and can do so while they
    still compute; they lie furthest apart, as :class:`Layout` numbers them.

    Every rank calls this with the same sizes. ``mesh["tp"].get_group()`` is the process group of the ranks that differ
    from this one in that dimension alone, ``mesh.get_local_rank("tp")`` this rank's place among them.

    Args:
        dp: Copies of the model, each on rows of its own. None: as many as there are ranks left for.
        tp: Ranks that share each layer.
        pp: Stages that the layers are dealt out to.

    Raises:
        ValueError: If there is no process group, a size is below 1, or the sizes do not multiply to the number of
            ranks.

    Example:
        >>> import tempfile
        >>> import torch.distributed as dist
        >>> with tempfile.NamedTemporaryFile() as file:
        ...     dist.init_process_group("gloo", store=dist.FileStore(file.name, 1), rank=0, world_size=1)
        ...     mesh = device_mesh()
        ...     print(mesh.mesh_dim_names, tuple(mesh.shape), mesh.get_local_rank("tp"))
        ...     dist.destroy_process_group()
        ('dp', 'pp', 'tp') (1, 1, 1) 0

    Reference: Narayanan et al. 2021, Efficient large-scale language model training on GPU clusters using Megatron-LM,
    section 3, https://arxiv.org/abs/2104.04473; the order is that of Grattafiori et al. 2024, The Llama 3 herd of
    models, section 3.3, https://arxiv.org/abs/2407.21783
    """
    from torch.distributed.device_mesh import init_device_mesh

    if not initialized():
        raise ValueError(
            "there is no process group: start the workers with course_lib.distributed.launch or torchrun, and call "
            "this inside course_lib.distributed.process_group or after torch.distributed.init_process_group."
        )
    if min(tp, pp, 1 if dp is None else dp) < 1:
        raise ValueError(f"sizes of a mesh must be at least 1, got dp={dp}, tp={tp}, pp={pp}.")
    copies = world_size() // (tp * pp) if dp is None else dp
    if copies * tp * pp != world_size():
        named = f"tp={tp} times pp={pp}" if dp is None else f"dp={dp} times tp={tp} times pp={pp}"
        relation = "does not divide" if dp is None else "is not"
        raise ValueError(f"{named} {relation} the number of ranks, {world_size()}: change the sizes or start as many.")
    return init_device_mesh(device().type, (copies, pp, tp), mesh_dim_names=("dp", "pp", "tp"))
