"""Videos of people's own as training data: packed into WebDataset shards, then encoded."""
