"""Where each rank stands when several forms of parallelism are used together."""

from course_lib.distributed.meshes.device_mesh import device_mesh

__all__ = ["device_mesh"]
