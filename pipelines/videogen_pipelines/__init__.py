"""The programs: read a manifest, plan, run, report."""
