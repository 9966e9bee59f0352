"""The tested library behind the course "How AI models are trained"; every part can be used on its own."""

__version__ = "0.1.0"
