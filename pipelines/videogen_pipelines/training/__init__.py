"""`videogen train finetune`: a model learns from encoded clips, on one machine or on many."""
