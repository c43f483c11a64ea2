"""Decision records: what was decided about a promoted digest, as signed in-toto statements. Pure."""
