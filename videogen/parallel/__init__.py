"""Sharding of models over ranks, applied from outside: no model file mentions a rank."""
