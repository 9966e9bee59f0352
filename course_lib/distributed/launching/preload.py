"""Imported once by the server from which workers are forked: what would take each of them seconds to import."""

from torch import nn, optim

import course_lib.data
import course_lib.loops
import course_lib.nn  # noqa: F401

optim.SGD(nn.Linear(1, 1).parameters())  # making the first optimizer imports more than torch itself does
