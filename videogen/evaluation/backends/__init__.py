"""Optional pretrained features, read through transformers from local folders only."""
