"""The report: a folder of HTML in which people look at a run, from disk or from any web server."""
