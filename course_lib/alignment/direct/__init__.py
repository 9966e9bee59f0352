"""Learning from preferences without a reward model: DPO, IPO, KTO, and the closed form they come from."""
