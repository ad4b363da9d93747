"""What people and machines look at: metrics, probes, logs. Observers of the runtime."""
