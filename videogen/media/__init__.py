"""Media: encoding, decoding and checking video files."""
