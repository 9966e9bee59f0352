"""Ways to walk downhill: optimizers, each in a form to read and a quick one, and learning-rate schedules."""

from course_lib.optim.adafactor import Adafactor
from course_lib.optim.adam import Adam
from course_lib.optim.adamw import AdamW
from course_lib.optim.foreach import ForeachOptimizer
from course_lib.optim.lamb import LAMB
from course_lib.optim.muon import Muon
from course_lib.optim.newton_schulz import newton_schulz
from course_lib.optim.rmsprop import RMSProp
from course_lib.optim.sgd import SGD

__all__ = ["LAMB", "SGD", "Adafactor", "Adam", "AdamW", "ForeachOptimizer", "Muon", "RMSProp", "newton_schulz"]
