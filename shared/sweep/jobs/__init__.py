"""The sweep jobs, one file a job."""
