"""Checkpoints of which every rank writes and reads its own part."""

from course_lib.distributed.checkpoints.sharded_checkpoints import ShardedCheckpoints

__all__ = ["ShardedCheckpoints"]
