"""Learning by telling things apart: losses over two views of the same rows, right over many processes too."""

from course_lib.losses.contrastive.barlow_twins import barlow_twins
from course_lib.losses.contrastive.clip_loss import clip_loss
from course_lib.losses.contrastive.info_nce import info_nce
from course_lib.losses.contrastive.nt_xent import nt_xent
from course_lib.losses.contrastive.simsiam import simsiam
from course_lib.losses.contrastive.vicreg import vicreg

__all__ = ["barlow_twins", "clip_loss", "info_nce", "nt_xent", "simsiam", "vicreg"]
