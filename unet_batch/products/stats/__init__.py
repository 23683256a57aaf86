"""Areas of classes, whole or per zone, and how they agree with a reference."""
