"""What every project's steps are made of: parameters, errors, MLflow runs, downloads, searches.

It lies here once. Each project has a link to it, and so a copy of its own where it is copied with
`cp -rL`. It imports no project.
"""
