"""`videogen train`: stages of training, in one process or on workers of Ray Train."""
