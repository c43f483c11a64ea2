"""What people and programs read: lists, one record in full, drift, logs. Nothing here writes."""
