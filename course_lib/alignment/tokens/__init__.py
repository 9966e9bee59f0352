"""Policy gradients over tokens: rollouts, the divergence from a reference, advantages, and PPO."""
