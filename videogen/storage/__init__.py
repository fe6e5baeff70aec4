"""Storage: create-only writes to local folders and object stores."""
