"""The operators' command line: Basegate's HTTP interface in a terminal, and for scripts."""
