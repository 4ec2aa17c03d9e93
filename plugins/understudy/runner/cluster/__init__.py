"""Steps as jobs on Kubernetes and Databricks."""
