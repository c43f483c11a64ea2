"""Read models: lists, single records, drift and logs. Nothing here writes."""
